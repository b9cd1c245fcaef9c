"""Errors whose text is meant for the user, in the shapes of AWS's toolkits."""


class ScriptModeError(Exception):
    """Something in the job, the archive or the environment is wrong; the message says what to change."""


class ChildError(ScriptModeError):
    """A child process failed. The text has the shape of sagemaker-training's `_CalledProcessError`.

    `kind` is the name that AWS gives the failure: `ExecuteUserScriptError` or `InstallRequirementsError`.
    """

    def __init__(self, kind, exit_code, message, command):
        self.exit_code = exit_code
        extra = ""
        if exit_code == 137:
            extra = '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"'
        super().__init__(
            '%s:\nExitCode %d\nErrorMessage "%s"%s\nCommand "%s"' % (kind, exit_code, message, extra, command)
        )


class UnsupportedFormat(Exception):
    """A default handler does not know a content type: 415 for a request's, 406 for the reply's.

    sagemaker-inference answers 500 here; its predecessor sagemaker-containers answered 415 and 406, which say
    whose fault it is.
    """

    def __init__(self, content_type, status):
        self.status = status
        super().__init__(
            "Content type %s is not supported by this framework.\n\n"
            "Please implement input_fn to to deserialize the request data or an output_fn to\n"
            "serialize the response. For more information, see the SageMaker Python SDK README." % content_type
        )
