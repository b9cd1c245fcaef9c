"""Section `instances`: what a second instance brings to the features phase."""

import os
import re
import shutil
import subprocess

import kennel

LINE = re.compile(r"2 instances computed (\d+) feature vectors in ([\d.]+) s")


def subset(a, target, count):
    """About `count` photos of all classes and splits, in proportion, as hard links or copies."""
    photos = sorted(a.data.glob("*/*/*"))
    step = max(1.0, len(photos) / count)
    chosen = [photos[int(i * step)] for i in range(min(count, len(photos)))]
    for photo in chosen:
        place = target / photo.relative_to(a.data)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(photo, place)
        except OSError:
            shutil.copy(photo, place)
    return len(chosen)


def section_instances(a, scratch):
    """Features by two instances of one thread each against one instance of one thread, cold caches."""
    photos = scratch / "subset"
    count = subset(a, photos, a.photos)
    # A binary without the MPI library beside it shares the features by the cache alone.
    plain = scratch / "plain/kennel"
    plain.parent.mkdir()
    shutil.copy(kennel.KENNEL, plain)
    library = os.environ.get("KENNEL_MPI") or str(kennel.KENNEL.parent / "libkennel_mpi.so")
    linked = subprocess.run(["ldd", library], capture_output=True, text=True).stdout
    ways = {"one": ([plain], [1, 1], {}), "one, one core": (["taskset", "-c", "0", plain], [1, 1], {}),
            "two": ([plain], [2, 2], {})}
    # `cargo build` makes a library without MPI in it too.
    if "libmpi" in linked and shutil.which("mpirun"):
        ways["two, MPI"] = ([plain], [2, 2], {"KENNEL_MPI": library})
    else:
        print("  MPI skipped, its library (with MPI in it) or mpirun is not there")
    rows = {name: [] for name in ways}
    for round_ in range(a.rounds):
        for name, (start, (instances, threads), more) in ways.items():
            cache = scratch / "cold-instances"
            shutil.rmtree(cache, ignore_errors=True)
            more = {"KENNEL_MPI": "", **more}
            said, metrics, watch = kennel.train(
                a, cache, scratch / "instances", "--epochs", 5, "--instances", instances, "--threads", threads,
                start=start, data=photos, **more)
            phases = metrics["seconds"]
            row = {**watch.row(), "phases": phases, "features_seconds": phases["features"],
                   # From the start of the photos' search to the last feature in the cache.
                   "until_features": phases["scan"] + phases["backbone"] + phases["features"]}
            if name == "two":
                # The children's phase, from their start to their end; what follows reads the cache.
                found = LINE.search(said)
                if not found or int(found[1]) != count:
                    raise SystemExit(f"the instances did not say that they computed {count}:\n{said}")
                row["until_features"] = float(found[2])
                row["features_seconds"] = None
            rows[name].append(row)
        print(f"  round {round_ + 1}: until the last feature " + ", ".join(
            f"{name} {rows[name][-1]['until_features']:.2f} s" for name in rows)
            + "; " + kennel.noise([rows[name][-1] for name in rows]), flush=True)
    return {"photos": count, "rows": rows}


def table_instances(found):
    rows = found["rows"]
    for name, runs in rows.items():
        yield f"{name}, {found['photos']} photos: start to last feature", kennel.of(
            kennel.column(runs, "until_features"), 2) + " s", kennel.noise(runs)
    # Photos are decoded with threads of the decoder's own: held to one core, one thread is one.
    for base in ("one", "one, one core"):
        for name in ("two", "two, MPI"):
            if name not in rows:
                continue
            # Without MPI the parent has no time of the features alone.
            field = "features_seconds" if rows[name][0]["features_seconds"] is not None else "until_features"
            ratios = [o[field] / t[field] for o, t in zip(rows[base], rows[name], strict=True)]
            yield f"`{name}` against `{base}`: {field.replace('_', ' ')}, times faster", kennel.of(ratios, 2), (
                "at least 1.85")
