"""At which steps tensors are saved, for one mode and for all."""

from kennel_debugger import Schedule

from .modes import ModeKeys


class SaveConfigMode(Schedule):
    """The schedule of one mode."""

    def should_save_step(self, step_num):
        return self.saves(step_num)


class SaveConfig:
    """The schedules of all modes."""

    def __init__(self, mode_save_configs=None, save_interval=None, start_step=None, end_step=None, save_steps=None):
        given = mode_save_configs
        if given is None:
            given = {mode: SaveConfigMode(save_interval, start_step, end_step, save_steps) for mode in ModeKeys}
        self.mode_save_configs = {mode: given.get(mode) for mode in ModeKeys}

    @classmethod
    def parse(cls, given):
        """A SaveConfig of whatever the hook and collections take: None, either class, or a dict by mode."""
        if given is None or isinstance(given, SaveConfig):
            return given or cls()
        if isinstance(given, SaveConfigMode):
            return cls({mode: given for mode in ModeKeys})
        if isinstance(given, dict):
            return cls({
                ModeKeys[mode] if isinstance(mode, str) else mode: SaveConfigMode(**one) if isinstance(one, dict) else one
                for mode, one in given.items()
            })
        raise TypeError("`%r` is not a SaveConfig" % (given,))

    def get_save_config(self, mode):
        return self.mode_save_configs[mode]

    def set_save_config(self, mode, save_config_mode):
        self.mode_save_configs[mode] = save_config_mode

    def should_save_step(self, mode, step_num):
        return (self.mode_save_configs[mode] or SaveConfigMode()).should_save_step(step_num)

    def schedules(self):
        """As kennel_debugger has them: {mode's name: schedule}."""
        return {mode.name.lower(): one for mode, one in self.mode_save_configs.items() if one is not None}
