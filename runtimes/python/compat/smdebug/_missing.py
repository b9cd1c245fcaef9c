"""The answer to what the stand-in does not have."""


class NotThere(NotImplementedError, AttributeError):
    """So that hasattr and getattr with a default work on objects."""


def text(what):
    return (
        "`%s` is not implemented: this is Kennel's stand-in for smdebug, which saves tensors of torch scripts\n"
        "hint: KENNEL_SMDEBUG=installed in the job's environment takes the smdebug of the interpreter or of "
        "requirements.txt instead; Kennel's rules do not read its files" % what
    )


def refuse(module):
    """The __getattr__ of a module."""

    def missing(name):
        # The import system asks for these.
        if name.startswith("__"):
            raise AttributeError("module `%s` has no attribute `%s`" % (module, name))
        raise NotImplementedError(text("%s.%s" % (module, name)))

    return missing
