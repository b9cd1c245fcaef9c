"""Hooks on torch modules, under the names that smdebug gives their tensors.

`Net_fc1.weight`, `gradient/Net_fc1.weight`, `fc1_output_0`, `Net_input_0`, `CrossEntropyLoss_output_0`: patterns that
were written for AWS match here too. torch itself is not imported: what it calls is all that is needed.
"""

import contextlib

_ACTIVATIONS = {"ReLU": "relu", "ReLU6": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}


class _Callback:
    """A function in a place where torch keeps it with the model.

    Copied or pickled with the model it becomes a standard function that takes anything and does nothing: a copy is not
    the model that was registered, and a model saved whole loads where there is no kennel_debugger.
    """

    def __init__(self, hook, function):
        self.hook = hook
        self.function = function

    def __call__(self, *args):
        try:
            self.function(*args)
        except Exception as error:
            self.hook.warn(error)

    def __reduce__(self):
        return getattr, (contextlib.nullcontext(), "__exit__")


def register_module(hook, model):
    """Steps, parameters, gradients, inputs and outputs of a module and those in it."""
    if not callable(getattr(model, "register_forward_pre_hook", None)):
        raise TypeError("register_module takes a torch.nn.Module, not a `%s`" % type(model).__name__)
    top = type(model).__name__
    known = sum(type(other).__name__ == top for other in hook._registered)
    if known:
        top = "%s%d" % (top, known)

    def forward_begins(module, inputs):
        hook.begin(forward=True)
        if hook.active:
            for name, parameter in module.named_parameters():
                hook.offer("%s_%s" % (top, name), parameter, _parameter_kinds(name))

    model.register_forward_pre_hook(_Callback(hook, forward_begins))
    for path, module in model.named_modules():
        path = path or top
        hook.paths[id(module)] = path
        activation = _ACTIVATIONS.get(type(module).__name__)
        before, after = ("inputs", "input_images") if module is model else (), ("outputs",) if module is model else ()
        if activation:
            before, after = before + (activation + "_input",), after + (activation + "_output",)
            # An activation in place leaves nothing of its input for later.
            module.register_forward_pre_hook(_Callback(hook, _inputs(hook, path, before)))
        else:
            module.register_forward_hook(_Callback(hook, _inputs(hook, path, before)))
        module.register_forward_hook(_Callback(hook, _outputs(hook, path, after)))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_hook(_Callback(hook, _gradient(hook, "gradient/%s_%s" % (top, name))))


def register_loss(hook, criterion):
    """What a loss module is given and what it returns."""
    if not callable(getattr(criterion, "register_forward_hook", None)):
        raise TypeError(
            "register_loss takes a torch loss module, not a `%s`\nhint: save_scalar(\"loss\", loss) in the loop"
            % getattr(criterion, "__name__", type(criterion).__name__)
        )
    name = type(criterion).__name__

    def forward_ended(module, inputs, output):
        if hook.active:
            _offer(hook, name + "_input_", inputs[:1], ())
            _offer(hook, name + "_input_", inputs[1:2], ("labels",))
            _offer(hook, name + "_output_", output, ("losses",))

    criterion.register_forward_hook(_Callback(hook, forward_ended))


def _parameter_kinds(name):
    last = name.rsplit(".", 1)[-1]
    return ("weights",) if "weight" in last else ("biases",) if "bias" in last else ()


def _inputs(hook, name, kinds):
    def inputs_came(module, inputs, output=None):
        if hook.active:
            _offer(hook, name + "_input_", inputs, kinds)

    return inputs_came


def _outputs(hook, name, kinds):
    def output_came(module, inputs, output):
        if hook.active:
            _offer(hook, name + "_output_", output, kinds)

    return output_came


def _gradient(hook, name):
    def gradient_came(gradient):
        if hook.active and gradient is not None:
            hook.offer(name, gradient, ("gradients",))

    return gradient_came


def _offer(hook, prefix, value, kinds):
    """Tensors in tuples, lists and dicts, numbered in the order in which they are found."""
    if isinstance(value, (tuple, list)):
        for part in value:
            _offer(hook, prefix, part, kinds)
    elif isinstance(value, dict):
        for part in value.values():
            _offer(hook, prefix, part, kinds)
    elif callable(getattr(value, "detach", None)):
        if len(value.shape) != 4:
            kinds = tuple(kind for kind in kinds if kind != "input_images")
        hook.offer("%s%d" % (prefix, hook.index(prefix)), value, kinds)
