"""Make kennel-mini, the small image backbone that Kennel ships, on one CPU core.

A MobileNetV2 student is cut out of a MobileNetV2 1.0 teacher (fewer channels everywhere, chosen
from the teacher's activations), then every weight of it is trained to agree with the teacher on
random crops of the training photos. The student's pooled features, not its classes, are what is
exported: a head for somebody's own classes is trained on top of them.

Only `train/` is learned from. `valid/` decides between settings. `test/` is read by
`--report-test` alone, once, for the model card.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

TEACHER_FILE = "mobilenet_v2_1.0_224.onnx"
TEACHER_SIZE = 224
MEAN = STD = 0.5


# --- Photos and views ------------------------------------------------------------------------


def list_split(folder):
    """The files of a split with their labels, in an order that no file system can change."""
    classes = sorted(d.name for d in Path(folder).iterdir() if d.is_dir())
    files, labels = [], []
    for label, name in enumerate(classes):
        for file in sorted((Path(folder) / name).iterdir()):
            files.append(file)
            labels.append(label)
    return files, np.array(labels)


def normalise(pixels):
    """uint8 N,H,W,3 to float32 N,3,H,W in memory order H,W,3, which the CPU kernels prefer."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return x.float().div_(255.0).sub_(MEAN).div_(STD)


def whole(image, shorter, size):
    """The preprocessing of the manifest: shorter side resized with antialias, centre crop."""
    w, h = image.size
    scale = shorter / min(w, h)
    # torchvision truncates the longer side, so this does too.
    w, h = (shorter, int(h * scale)) if w <= h else (int(w * scale), shorter)
    image = image.resize((w, h), Image.BILINEAR)
    left, top = int(round((w - size) / 2.0)), int(round((h - size) / 2.0))
    return np.asarray(image.crop((left, top, left + size, top + size)))


def random_box(rng, w, h):
    """A random crop (30 to 100 % of the area) as left, top, right, bottom."""
    for _ in range(10):
        area = w * h * rng.uniform(0.3, 1.0)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        cw, ch = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if cw <= w and ch <= h:
            left, top = rng.integers(0, w - cw + 1), rng.integers(0, h - ch + 1)
            return int(left), int(top), int(left + cw), int(top + ch)
    side = min(w, h)
    return (w - side) // 2, (h - side) // 2, (w + side) // 2, (h + side) // 2


def two_sizes(image, box, flip, size):
    """One crop as the teacher sees it (224) and as the student sees it (smaller)."""
    pair = []
    for side in (TEACHER_SIZE, size):
        view = image.resize((side, side), Image.BILINEAR, box=box)
        pair.append(np.asarray(view.transpose(Image.FLIP_LEFT_RIGHT) if flip else view))
    return pair


class Teacher:
    """The hub's network in ONNX Runtime, answering with its 1,280 pooled features."""

    def __init__(self, path):
        model = onnx.load(str(path))
        pool = next(n for n in model.graph.node if n.op_type == "GlobalAveragePool")
        model.graph.output.append(
            helper.make_tensor_value_info(pool.output[0], TensorProto.FLOAT, None)
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.feature = pool.output[0]

    def __call__(self, pixels):
        x = normalise(pixels).contiguous().numpy()
        return self.session.run([self.feature], {"input": x})[0].reshape(len(x), -1)


def make_view(index, files, teacher, size, seed, folder):
    """Write view number `index`: one random crop of every photo and the teacher's answer to it.

    Teacher and student look at the same crop, because a target that was computed for another
    crop is noise. Views are kept on disk, because the teacher costs as much as the student's
    training step, and are cheap to come back to. About a third of the photos are blended with
    another one: the teacher has an opinion on blends too, and 6,000 photos are few.
    """
    target = Path(folder) / f"view{index:03d}.npz"
    if target.exists():
        return target
    rng = np.random.default_rng([seed, 1, index])
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    features = np.empty((len(files), 1280), np.float16)
    blended = rng.random(len(files)) < 0.3
    batch = []
    for i, file in enumerate(files):
        image = Image.open(file).convert("RGB")
        pair = two_sizes(image, random_box(rng, *image.size), rng.random() < 0.5, size)
        if blended[i]:
            other = Image.open(files[rng.integers(len(files))]).convert("RGB")
            second = two_sizes(other, random_box(rng, *other.size), rng.random() < 0.5, size)
            share = np.float32(rng.uniform(0.5, 0.9))
            pair = [
                np.round(share * a + (1 - share) * b).astype(np.uint8)
                for a, b in zip(pair, second)
            ]
        pixels[i] = pair[1]
        batch.append(pair[0])
        if len(batch) == 32 or i + 1 == len(files):
            features[i + 1 - len(batch) : i + 1] = teacher(np.stack(batch))
            batch = []
    # Written under another name first, so that an interrupted run leaves no half view behind.
    partial = target.with_suffix(".partial")
    with open(partial, "wb") as out:
        np.savez(out, pixels=pixels, features=features, blended=blended)
    os.replace(partial, target)
    return target


# --- The student -----------------------------------------------------------------------------

# Blocks per stage and stride of each stage's first block: MobileNetV2's own.
STAGES = [(1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)]
# Channels of the student. The first 17 numbers are what each block computes in (teacher: 32, 96,
# 144, 144, 192 x3, 384 x4, 576 x3, 960 x3), the next seven what stages pass on (teacher: 16, 24,
# 32, 64, 96, 160, 320). Streams are kept wider than hidden layers, because all blocks of a stage
# write into the same one.
HIDDEN = [16, 40, 48, 56, 72, 72, 80, 144, 144, 144, 160, 232, 232, 288, 464, 464, 464]
STREAM = [12, 16, 24, 48, 64, 112, 208]
WIDTH = 640


class Block(nn.Module):
    """Inverted residual without batch normalisation: expand, depthwise, project."""

    def __init__(self, inp, hidden, out, stride, expand, residual):
        super().__init__()
        self.expand = nn.Conv2d(inp, hidden, 1) if expand else None
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.project = nn.Conv2d(hidden, out, 1)
        self.residual = residual

    def inside(self, x):
        if self.expand is not None:
            x = F.relu6(self.expand(x))
        return F.relu6(self.depthwise(x))

    def forward(self, x):
        y = self.project(self.inside(x))
        return x + y if self.residual else y


class Network(nn.Module):
    """MobileNetV2 with free channel counts. It also holds the teacher, while the student is cut.

    There is no batch normalisation: the teacher's is already folded into its weights, and a
    student cut out of it starts with sound scales. Training is a third cheaper for it.
    """

    def __init__(self, hidden=HIDDEN, stream=STREAM, width=WIDTH):
        super().__init__()
        self.stem = nn.Conv2d(3, hidden[0], 3, 2, 1)
        blocks, inp = [], hidden[0]
        for (count, stride), out in zip(STAGES, stream):
            for i in range(count):
                h = hidden[len(blocks)]
                blocks.append(Block(inp, h, out, stride if i == 0 else 1, bool(blocks), i > 0))
                inp = out
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(inp, width, 1)

    def convolutions(self):
        """All convolutions in the order in which they run."""
        yield "stem", self.stem
        for i, block in enumerate(self.blocks):
            if block.expand is not None:
                yield f"block{i}_expand", block.expand
            yield f"block{i}_depthwise", block.depthwise
            yield f"block{i}_project", block.project
        yield "last", self.last

    def forward(self, x):
        x = F.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.last(x)).mean((2, 3))


def teacher_network(path):
    """The teacher's weights in the same class, and the weight and bias of its class layer.

    The ONNX file pads stride-2 convolutions at the bottom right, this class on all sides: the
    picture moves by a pixel, nothing else. It serves the cut only; targets come from ONNX Runtime.
    """
    graph = onnx.load(str(path)).graph
    arrays = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    convs = [n for n in graph.node if n.op_type == "Conv"]
    hidden = [32, 96, 144, 144, 192, 192, 192] + [384] * 4 + [576] * 3 + [960] * 3
    net = Network(hidden, [16, 24, 32, 64, 96, 160, 320], 1280)
    with torch.no_grad():
        for (_, conv), node in zip(net.convolutions(), convs[:-1], strict=True):
            conv.weight.copy_(arrays[node.input[1]])
            conv.bias.copy_(arrays[node.input[2]])
    # Class 0 is "background", which no photo is.
    weight, bias = (arrays[name].flatten(1)[1:] if arrays[name].dim() > 1 else arrays[name][1:]
                    for name in convs[-1].input[1:3])
    return net.to(memory_format=torch.channels_last), weight, bias


# --- Cutting the student out of the teacher ----------------------------------------------------


def solve(a, b, ridge=1e-4):
    """Least squares of centred `b` on centred `a`: weight (out x in) and bias."""
    am, bm = a.mean(0), b.mean(0)
    a, b = (a - am).double(), (b - bm).double()
    gram = a.T @ a
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, a.T @ b).T.float()
    return weight, bm - weight @ am


def choose(a, b, keep):
    """Which `keep` columns of `a` explain `b` best, by leaving out the least needed one by one.

    Leaving out column j raises the squared error by |w_j|^2 / inverse_gram_jj, where w is the
    least-squares solution of the moment, so that each step costs one rank-one update.
    """
    a, b = (a - a.mean(0)).double(), (b - b.mean(0)).double()
    gram = a.T @ a
    gram.diagonal().add_(1e-4 * gram.diagonal().mean())
    inverse = torch.linalg.inv(gram)
    weight = inverse @ (a.T @ b)
    alive = torch.ones(a.shape[1], dtype=torch.bool)
    for _ in range(a.shape[1] - keep):
        cost = weight.square().sum(1) / inverse.diagonal()
        cost[~alive] = torch.inf
        j = int(cost.argmin())
        alive[j] = False
        column = inverse[:, j] / inverse[j, j]
        weight -= column[:, None] * weight[j]
        inverse -= torch.outer(column, inverse[j].clone())
        # The row and column of j are zero now up to rounding; the diagonal must not divide.
        inverse[j, j] = 1.0
    return alive.nonzero().flatten()


class Sampler:
    """Takes the same few positions of every map of one size, as rows of channels."""

    def __init__(self, generator):
        self.generator, self.positions = generator, {}

    def __call__(self, maps):
        flat = maps.flatten(2)
        area = flat.shape[2]
        if area not in self.positions:
            self.positions[area] = torch.randperm(area, generator=self.generator)[:25]
        return flat[:, :, self.positions[area]].permute(0, 2, 1).flatten(0, 1)


@torch.no_grad()
def cut(teacher, x, targets, generator):
    """A student whose channels are chosen from the teacher's, with least-squares weights.

    Streams (what stages pass on) are linear, so each is replaced by its principal components,
    weighted by what the next expansions read. Hidden channels are chosen by `choose`. Every
    projection is then solved anew on the student's own activations, so that a block repairs what
    the blocks before it lost. `x` are pictures in the student's size, `targets` the teacher's
    pooled features of many crops.
    """
    student = Network().to(memory_format=torch.channels_last)
    sampler = Sampler(generator)

    # What the teacher computes on these pictures, at the sampled positions.
    parts = []
    for part in x.split(64):
        y, rows = F.relu6(teacher.stem(part)), []
        for block in teacher.blocks:
            rows.append(sampler(block.inside(y)))
            y = block(y)
            rows.append(sampler(y))
        parts.append(rows)
    rows = [torch.cat(column) for column in zip(*parts)]
    inside, outside = rows[0::2], rows[1::2]

    # The features to keep: those from which all of the teacher's are best guessed.
    scaled = (targets - targets.mean(0)) / targets.std(0).clamp_min(1e-3)
    features = choose(scaled, scaled, WIDTH)

    # Per stage: mean, encoder (teacher's stream to student's) and decoder.
    stage_of = [s for s, (count, _) in enumerate(STAGES) for _ in range(count)]
    coders = []
    for stage, rank in enumerate(STREAM):
        members = [k for k, s in enumerate(stage_of) if s == stage]
        values = torch.cat([outside[k] for k in members]).double()
        mean = values.mean(0)
        covariance = (values - mean).T @ (values - mean) / len(values)
        readers = [teacher.blocks[k + 1].expand.weight for k in members if k + 1 < len(stage_of)]
        if not readers:
            readers = [teacher.last.weight[features]]
        metric = sum(w.flatten(1).double().T @ w.flatten(1).double() for w in readers)
        metric.diagonal().add_(1e-3 * metric.diagonal().mean())
        value, vector = torch.linalg.eigh(metric)
        root = vector @ torch.diag(value.sqrt()) @ vector.T
        unroot = vector @ torch.diag(value.rsqrt()) @ vector.T
        top = torch.linalg.eigh(root @ covariance @ root)[1][:, -rank:]
        coders.append((mean.float(), (top.T @ root).float(), (unroot @ top).float()))

    def assign(conv, weight, bias):
        conv.weight.copy_(weight.reshape(conv.weight.shape))
        conv.bias.copy_(bias)

    def decoded(conv, keep, stage):
        """A 1x1 convolution on the teacher's stream, rewritten for the student's."""
        mean, _, decoder = coders[stage]
        weight = conv.weight[keep].flatten(1)
        return weight @ decoder, conv.bias[keep] + weight @ mean

    # Maps of the student, kept whole per batch, since depthwise convolutions need neighbours.
    maps = None
    for k, (old, new) in enumerate(zip(teacher.blocks, student.blocks)):
        mean, encoder, _ = coders[stage_of[k]]
        wanted = (outside[k] - mean) @ encoder.T
        before = (outside[k - 1] - mean) @ encoder.T if old.residual else 0.0
        keep = choose(inside[k], wanted - before, HIDDEN[k])
        if k == 0:
            # The first block has no expansion: its channels are the stem's.
            assign(student.stem, teacher.stem.weight[keep], teacher.stem.bias[keep])
            maps = [F.relu6(student.stem(part)) for part in x.split(64)]
        else:
            assign(new.expand, *decoded(old.expand, keep, stage_of[k - 1]))
        assign(new.depthwise, old.depthwise.weight[keep], old.depthwise.bias[keep])
        have = torch.cat([sampler(new.inside(m)) for m in maps])
        stream = torch.cat([sampler(m) for m in maps]) if old.residual else 0.0
        goal = wanted - stream
        assign(new.project, *solve(have, goal))
        maps = [new(m) for m in maps]
        error = wanted - torch.cat([sampler(m) for m in maps])
        lost = error.square().sum() / (wanted - wanted.mean(0)).square().sum()
        print(f"  block {k}: {len(keep)} of {inside[k].shape[1]}, lost {lost:.3f}", flush=True)
    assign(student.last, *decoded(teacher.last, features, len(STREAM) - 1))
    return student


# --- Training --------------------------------------------------------------------------------


class ScaledAdam:
    """Adam whose step is relative to the size of what it changes, per output channel.

    Folded batch normalisation left channels of very different sizes. One learning rate in
    absolute numbers is too large for some of them and too small for others.
    """

    def __init__(self, parameters, betas=(0.9, 0.999)):
        self.parameters, self.betas, self.step_count = list(parameters), betas, 0
        self.scales = []
        for p in self.parameters:
            size = p.detach().square().mean().sqrt().clamp_min(1e-3)
            if p.dim() > 1:
                per = p.detach().flatten(1).square().mean(1).sqrt().clamp_min(0.2 * size)
                size = per.reshape(-1, *[1] * (p.dim() - 1))
            self.scales.append(size.expand_as(p).contiguous().clone(
                memory_format=torch.preserve_format))
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, rate):
        self.step_count += 1
        b1, b2 = self.betas
        grads = [p.grad for p in self.parameters]
        torch._foreach_lerp_(self.first, grads, 1 - b1)
        torch._foreach_mul_(self.second, b2)
        torch._foreach_addcmul_(self.second, grads, grads, 1 - b2)
        below = torch._foreach_div(self.second, 1 - b2**self.step_count)
        torch._foreach_sqrt_(below)
        torch._foreach_add_(below, 1e-10)
        above = torch._foreach_mul(self.first, self.scales)
        torch._foreach_addcdiv_(
            self.parameters, above, below, value=-rate / (1 - b1**self.step_count)
        )
        for p in self.parameters:
            p.grad = None


class Heads(nn.Module):
    """What training needs on top of the features and the shipped model does not hold."""

    def __init__(self, student_features, teacher_features, class_weight, class_bias):
        super().__init__()
        self.register_buffer("mean", teacher_features.mean(0))
        self.register_buffer("std", teacher_features.std(0).clamp_min(0.05))
        weight, bias = solve(student_features, (teacher_features - self.mean) / self.std, 1e-2)
        self.map = nn.Linear(*weight.shape[::-1])
        self.classes = nn.Linear(weight.shape[1], len(class_weight))
        with torch.no_grad():
            self.map.weight.copy_(weight)
            self.map.bias.copy_(bias)
            # The class layer starts as the teacher's, read through the map.
            back = class_weight * self.std
            self.classes.weight.copy_(back @ weight)
            self.classes.bias.copy_(back @ bias + class_weight @ self.mean + class_bias)
        self.register_buffer("teacher_weight", class_weight)
        self.register_buffer("teacher_bias", class_bias)

    def forward(self, features, target, feature_weight):
        wanted = F.linear(target, self.teacher_weight, self.teacher_bias)
        logits = self.classes(features)
        agree = (logits.argmax(1) == wanted.argmax(1)).float().mean()
        divergence = F.kl_div(
            logits.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
        )
        distance = F.mse_loss(self.map(features), (target - self.mean) / self.std)
        return divergence + feature_weight * distance, divergence, distance, agree


@torch.no_grad()
def features_of(model, pixels):
    return torch.cat([model(normalise(pixels[i : i + 64])) for i in range(0, len(pixels), 64)])


def load_view(path):
    with np.load(path) as view:
        return view["pixels"], torch.from_numpy(view["features"])


def train(student, heads, views, photos, valid, options, save):
    """Cosine from `rate` to zero with a short warm-up, and a moving average of the weights.

    `views(i)` is the file of view i of the `photos` training photos. `save` is called with the
    averaged weights every few epochs, so that an interrupted run leaves something usable.
    """
    parameters = [*student.parameters(), *heads.parameters()]
    optimiser = ScaledAdam(parameters)
    average = [p.detach().clone() for p in parameters]
    rng = np.random.default_rng([options.seed, 2])
    steps = options.epochs * (photos // options.batch)
    step, started = 0, time.time()
    for epoch in range(options.epochs):
        pixels, targets = load_view(views(epoch % options.views))
        order = rng.permutation(len(pixels))
        sums, count = np.zeros(4), 0
        for i in range(0, len(order) - options.batch + 1, options.batch):
            rows = order[i : i + options.batch]
            x = normalise(pixels[rows])
            if rng.random() < 0.5:
                # The teacher hardly tells a picture from its mirror image, so a cached view
                # serves as two.
                x = x.flip(3)
            terms = heads(student(x), targets[rows].float(), options.feature_weight)
            terms[0].backward()
            done = step / steps
            if options.minutes:
                done = max(done, (time.time() - started) / 60 / options.minutes)
            if done >= 1:
                break
            warm = min(1.0, (step + 1) / (0.03 * steps + 1))
            optimiser.step(options.rate * warm * 0.5 * (1 + np.cos(np.pi * done)))
            step += 1
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, 1 - min(0.998, step / (step + 10)))
            sums += [t.item() for t in terms]
            count += 1
        if count == 0:
            break
        # Everything but training uses the average, so it is swapped in and out again.
        live = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_copy_(parameters, average)
            terms = heads(features_of(student, valid["pixels"]), valid["targets"],
                          options.feature_weight)
        line = " ".join(f"{n} {a:.3f}/{b.item():.3f}" for n, a, b in
                        zip(("loss", "kl", "mse", "agree"), sums / count, terms))
        print(f"epoch {epoch + 1} {time.time() - started:.0f}s {line}", flush=True)
        if (epoch + 1) % options.save_every == 0:
            save(student)
        with torch.no_grad():
            torch._foreach_copy_(parameters, live)
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
    save(student)


# --- The linear probe ------------------------------------------------------------------------


def probe(train_x, train_y, others, decays=(0.003, 0.01, 0.03, 0.1, 0.3)):
    """Logistic regression on standardised features.

    `others` are (features, labels) pairs, the first of which chooses the weight decay. Returns
    that decay and the accuracy on each pair.
    """
    mean, std = train_x.mean(0), train_x.std(0).clamp_min(1e-6)
    train_x, train_y = (train_x - mean) / std, torch.as_tensor(train_y)
    best = None
    for decay in decays:
        head = nn.Linear(train_x.shape[1], int(train_y.max()) + 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        optimiser = torch.optim.LBFGS(
            head.parameters(), max_iter=150, history_size=10, line_search_fn="strong_wolfe"
        )

        def loss():
            optimiser.zero_grad()
            value = F.cross_entropy(head(train_x), train_y)
            value = value + decay * head.weight.square().sum() / 2
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            right = [
                (head((x - mean) / std).argmax(1) == torch.as_tensor(y)).float().mean().item()
                for x, y in others
            ]
        if best is None or right[0] > best[1][0]:
            best = decay, right
    return best


# --- Export ----------------------------------------------------------------------------------


def export(model, path, size):
    """Write plain ONNX by hand: Conv, Clip, Add, GlobalAveragePool and Flatten, all float32.

    The exporter of torch would do, but a file of 99 nodes with readable names is easier to check
    in other engines, and stays the same when the exporter changes.
    """
    nodes, arrays = [], []

    def constant(name, value):
        arrays.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    constant("zero", np.float32(0))
    constant("six", np.float32(6))

    def conv(name, layer, x, clip):
        inputs = [x, constant(f"{name}_weight", layer.weight.detach().numpy()),
                  constant(f"{name}_bias", layer.bias.detach().numpy())]
        nodes.append(helper.make_node(
            "Conv", inputs, [f"{name}_conv"], name=f"{name}_conv",
            kernel_shape=list(layer.kernel_size), strides=list(layer.stride),
            pads=list(layer.padding) * 2, group=layer.groups, dilations=[1, 1]))
        if clip:
            nodes.append(helper.make_node(
                "Clip", [f"{name}_conv", "zero", "six"], [name], name=name))
        return name if clip else f"{name}_conv"

    x = conv("stem", model.stem, "input", True)
    for i, block in enumerate(model.blocks):
        y = conv(f"block{i}_expand", block.expand, x, True) if block.expand is not None else x
        y = conv(f"block{i}_depthwise", block.depthwise, y, True)
        y = conv(f"block{i}_project", block.project, y, False)
        if block.residual:
            nodes.append(helper.make_node("Add", [x, y], [f"block{i}"], name=f"block{i}"))
            y = f"block{i}"
        x = y
    x = conv("last", model.last, x, True)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["features"], name="features", axis=1))
    graph = helper.make_graph(
        nodes, "kennel-mini",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", WIDTH])],
        arrays)
    onnx_model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
        producer_name="kennel-mini/distil.py")
    onnx.checker.check_model(onnx_model, full_check=True)
    partial = Path(path).with_suffix(".partial")
    onnx.save(onnx_model, str(partial))
    os.replace(partial, path)


def read_whole(folder, shorter, size):
    files, labels = list_split(folder)
    pixels = [whole(Image.open(f).convert("RGB"), shorter, size) for f in files]
    return np.stack(pixels), labels


class Exported:
    """The written file in ONNX Runtime: what is measured is what is shipped."""

    def __init__(self, path):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, x):
        return torch.from_numpy(
            self.session.run(["features"], {"input": x.contiguous().numpy()})[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/valid/test")
    parser.add_argument("--hub", type=Path, required=True, help=f"folder with {TEACHER_FILE}")
    parser.add_argument("--out", type=Path, required=True, help="where the model is written")
    parser.add_argument("--work", type=Path, help="where views are kept (default: OUT/work)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=160, help="side of the student's input")
    parser.add_argument("--shorter", type=int, help="shorter side before the centre crop")
    parser.add_argument("--views", type=int, default=10, help="random crops kept per photo")
    parser.add_argument("--epochs", type=int, default=42)
    parser.add_argument("--minutes", type=float, help="end the schedule by then, if sooner; the "
                        "result then depends on the machine's speed")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0015, help="step relative to the weights")
    parser.add_argument("--feature-weight", type=float, default=2.0)
    parser.add_argument("--save-every", type=int, default=5, help="epochs between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probe-only", action="store_true", help="measure an exported model")
    parser.add_argument("--report-test", action="store_true", help="read the test split, too")
    options = parser.parse_args()
    options.shorter = options.shorter or round(options.size * 256 / TEACHER_SIZE)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    work = options.work or options.out / "work"
    (work / "views").mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "kennel-mini.onnx"
    started = time.time()

    files, labels = list_split(options.data / "train")
    valid_pixels, valid_labels = read_whole(options.data / "valid", options.shorter, options.size)
    if not options.probe_only:
        teacher = Teacher(options.hub / TEACHER_FILE)
        network, class_weight, class_bias = teacher_network(options.hub / TEACHER_FILE)

        def views(index):
            return make_view(index, files, teacher, options.size, options.seed, work / "views")

        pixels, targets = load_view(views(0))
        targets = targets.float()
        student = cut(network, normalise(pixels[:512]), targets,
                      torch.Generator().manual_seed(options.seed))
        heads = Heads(features_of(student, pixels), targets, class_weight, class_bias)
        valid_full, _ = read_whole(options.data / "valid", 256, TEACHER_SIZE)
        valid = {
            "pixels": valid_pixels,
            "targets": torch.from_numpy(np.concatenate(
                [teacher(valid_full[i : i + 32]) for i in range(0, len(valid_full), 32)])),
        }
        print(f"student: {sum(p.numel() for p in student.parameters())} parameters, "
              f"cut after {time.time() - started:.0f}s", flush=True)

        def save(model):
            export(model, path, options.size)
            torch.save(model.state_dict(), work / "student.pt")

        # The cut alone is usable, which makes it the first checkpoint.
        save(student)
        train(student, heads, views, len(files), valid, options, save)
        gap = (Exported(path)(normalise(valid_pixels[:64]))
               - student(normalise(valid_pixels[:64])).detach()).abs().max().item()
        print(f"trained after {time.time() - started:.0f}s, largest difference between "
              f"ONNX Runtime and torch {gap:.2e}", flush=True)

    model = Exported(path)
    train_pixels, _ = read_whole(options.data / "train", options.shorter, options.size)
    splits = [(features_of(model, valid_pixels), valid_labels)]
    if options.report_test:
        test_pixels, test_labels = read_whole(options.data / "test", options.shorter, options.size)
        splits.append((features_of(model, test_pixels), test_labels))
    decay, right = probe(features_of(model, train_pixels), labels, splits)
    result = dict(zip(("valid", "test"), right), decay=decay, bytes=path.stat().st_size,
                  sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
