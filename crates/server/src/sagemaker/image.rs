//! Which program an image stands for. Kennel pulls no images: a URI names either the native algorithm
//! or a framework container whose contract a configured Python interpreter fulfils. The URI itself is
//! stored and echoed unchanged, as the SDK parses it again (`attach`).

use kennel_wire::ServiceError;

/// What runs where AWS would run an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `kennel train` and `kennel serve`.
    Native,
    /// The user's scripts under the toolkit, with the interpreter of this runtime.
    Script {
        /// The name in `[runtimes.NAME]`.
        runtime: &'static str,
    },
}

/// The native algorithm's own image name; SageMaker's built-in one is taken for it too.
pub const NATIVE_IMAGE: &str = "kennel/image-classification:1";

/// The program of an image URI, such as
/// `763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.4.0-cpu-py3`.
///
/// # Errors
/// `ValidationException` for an image that maps to no runtime, saying what could be configured.
pub(super) fn program(uri: &str) -> Result<Program, ServiceError> {
    let path = uri.split('@').next().unwrap_or(uri);
    let last = path.rsplit('/').next().unwrap_or(path);
    let repository = last.split(':').next().unwrap_or(last);
    match repository {
        "image-classification" => Ok(Program::Native),
        "pytorch-training" | "pytorch-inference" | "sagemaker-pytorch" => {
            Ok(Program::Script { runtime: "pytorch" })
        }
        _ => Err(ServiceError::validation(format!(
            "image `{uri}` maps to no runtime of this Kennel, which runs no container images\nhint: use the native algorithm `{NATIVE_IMAGE}`, or an image of the framework containers `pytorch-training` and `pytorch-inference` (interpreter: `[runtimes.pytorch] python = …` in kennel.toml, or `kennel runtime install pytorch`)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framework_and_native_images_are_known() {
        let ecr = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.4.0-cpu-py3";
        assert_eq!(program(ecr).unwrap(), Program::Script { runtime: "pytorch" });
        let built_in = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1";
        assert_eq!(program(built_in).unwrap(), Program::Native);
        assert_eq!(program(NATIVE_IMAGE).unwrap(), Program::Native);
        let pinned = "1.dkr.ecr.x.amazonaws.com/pytorch-inference@sha256:00";
        assert_eq!(program(pinned).unwrap(), Program::Script { runtime: "pytorch" });
    }

    #[test]
    fn other_images_are_refused_with_what_to_do() {
        let error = program("1.dkr.ecr.us-east-1.amazonaws.com/my-own:latest").unwrap_err();
        assert_eq!(error.code, "ValidationException");
        assert!(error.message.contains("runtimes.pytorch"), "{error}");
        assert!(program("").is_err());
    }
}
