"""The one hook of a process."""

_hook = None


def get_hook(json_config_path=None, create_if_not_exists=False):
    """The process's hook. Made where asked for; smdebug answers None without a configuration, this a hook that does
    nothing, so that a script need not ask."""
    from .hook import Hook

    if _hook is None and create_if_not_exists:
        # Sets it.
        Hook.create_from_json_file(json_config_path)
    return _hook


def set_hook(custom_hook):
    global _hook
    _hook = custom_hook


def del_hook():
    set_hook(None)
