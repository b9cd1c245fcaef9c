"""Sends the SageMaker SDK's STS calls to the endpoint that all its other calls go to.

Version 2 of the SDK writes https://sts.<region>.amazonaws.com into its STS clients, which beats
AWS_ENDPOINT_URL. Once the SDK is imported, this module replaces the one function that makes that
address. It answers the configured endpoint where there is one (AWS_ENDPOINT_URL_STS, else
AWS_ENDPOINT_URL, else the profile's endpoint_url) and the SDK's own answer where there is none, so
that without a configured endpoint nothing changes.

Put in place by `kennel env --install`, removed by `kennel env --uninstall`.
"""

import sys

# sagemaker.session takes its copy from sagemaker.utils; sagemaker_core has one of its own.
_MODULES = frozenset(("sagemaker.utils", "sagemaker.session", "sagemaker_core.helper.session_helper"))
_NAME = "sts_regional_endpoint"


def _is_true(value):
    return str(value or "").strip().lower() == "true"


def _configured():
    """The endpoint for STS that boto3 would use by itself, in boto3's order."""
    import os

    if _is_true(os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")):
        return None
    for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        import botocore.session

        session = botocore.session.Session()
        profile = session.get_scoped_config()
        if _is_true(profile.get("ignore_configured_endpoint_urls")):
            return None
        services = session.full_config.get("services", {}).get(profile.get("services"), {})
        own = services.get("sts", {})
        return (own.get("endpoint_url") if isinstance(own, dict) else None) or profile.get("endpoint_url")
    except Exception:  # an unreadable profile is boto3's to report
        return None


def _patch(module):
    original = getattr(module, _NAME, None)
    if original is None or getattr(original, "_kennel", False):
        return

    def sts_regional_endpoint(region):
        return _configured() or original(region)

    sts_regional_endpoint._kennel = True
    sts_regional_endpoint.__doc__ = original.__doc__
    setattr(module, _NAME, sts_regional_endpoint)


class _Loader:
    """The module's own loader, and the patch after it."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # Tools that look at a module later are to find its own loader.
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _patch(module)


class _Finder:
    """Steps in for the modules above and for no others."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _MODULES:
            return None
        for finder in sys.meta_path:
            if finder is _Finder or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


def install():
    """Hooks the import of the SDK; patches it at once where it is imported already."""
    if not any(getattr(finder, "__name__", "") == "_Finder" and getattr(finder, "__module__", "") == __name__
               for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder)
    for name in _MODULES:
        if name in sys.modules:
            _patch(sys.modules[name])


install()
