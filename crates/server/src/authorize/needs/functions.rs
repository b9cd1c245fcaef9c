//! Lambda.

use super::{Asked, Need, Needs, has_tags, pass, tags, text, values};

const SERVICE: &str = "lambda.amazonaws.com";

/// What an operation is about.
enum About {
    /// The function as a whole.
    Function,
    /// The function, or the version or alias that the call names.
    Qualified,
    /// A layer.
    Layer,
    /// A layer's version.
    LayerVersion,
    /// The ARN in this member.
    Arn(&'static str),
    /// No resource.
    Nothing,
}

/// Which operations look at versions and aliases:
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html>
fn about(operation: &str) -> Option<About> {
    Some(match operation {
        "CreateFunction"
        | "UpdateFunctionCode"
        | "UpdateFunctionConfiguration"
        | "PublishVersion"
        | "ListVersionsByFunction"
        | "CreateAlias"
        | "GetAlias"
        | "UpdateAlias"
        | "DeleteAlias"
        | "ListAliases"
        | "PutFunctionConcurrency"
        | "GetFunctionConcurrency"
        | "DeleteFunctionConcurrency"
        | "ListProvisionedConcurrencyConfigs"
        | "ListFunctionEventInvokeConfigs"
        | "ListFunctionUrlConfigs" => About::Function,
        "GetFunction"
        | "GetFunctionConfiguration"
        | "DeleteFunction"
        | "Invoke"
        | "InvokeAsync"
        | "AddPermission"
        | "RemovePermission"
        | "GetPolicy"
        | "PutProvisionedConcurrencyConfig"
        | "GetProvisionedConcurrencyConfig"
        | "DeleteProvisionedConcurrencyConfig"
        | "PutFunctionEventInvokeConfig"
        | "UpdateFunctionEventInvokeConfig"
        | "GetFunctionEventInvokeConfig"
        | "DeleteFunctionEventInvokeConfig"
        | "CreateFunctionUrlConfig"
        | "GetFunctionUrlConfig"
        | "UpdateFunctionUrlConfig"
        | "DeleteFunctionUrlConfig" => About::Qualified,
        "PublishLayerVersion" => About::Layer,
        "GetLayerVersion" | "DeleteLayerVersion" => About::LayerVersion,
        "GetLayerVersionByArn" => About::Arn("Arn"),
        "ListTags" | "TagResource" | "UntagResource" => About::Arn("Resource"),
        "ListFunctions" | "ListLayers" | "ListLayerVersions" | "GetAccountSettings" => {
            About::Nothing
        }
        _ => return None,
    })
}

pub(super) fn lambda(asked: &Asked<'_>) -> Option<Needs> {
    let (operation, input) = (asked.operation, asked.input);
    let action = match operation {
        "Invoke" | "InvokeAsync" => "lambda:InvokeFunction".to_owned(),
        "GetLayerVersionByArn" => "lambda:GetLayerVersion".to_owned(),
        _ => asked.action("lambda"),
    };
    let name = asked.text("FunctionName");
    let resource = match about(operation)? {
        About::Function => function(asked, name, None),
        About::Qualified => function(asked, name, Some(asked.text("Qualifier"))),
        About::Layer => layer(asked),
        About::LayerVersion => {
            let number = values(input, "VersionNumber").concat();
            format!("{}:{number}", layer(asked))
        }
        About::Arn(member) => asked.text(member).to_owned(),
        About::Nothing => "*".to_owned(),
    };
    let tagged = if operation == "UntagResource" { "TagKeys" } else { "Tags" };
    let mut need = Need::new(action, resource.clone()).and(&tags(input, tagged));
    let mut more = Vec::new();
    if matches!(operation, "CreateFunction" | "UpdateFunctionConfiguration") {
        let layers = values(input, "Layers[]");
        need = need
            .with("lambda:Layer", layers.clone())
            .with("lambda:SubnetIds", values(input, "VpcConfig.SubnetIds[]"))
            .with("lambda:SecurityGroupIds", values(input, "VpcConfig.SecurityGroupIds[]"));
        more.extend(layers.into_iter().map(|arn| Need::new("lambda:GetLayerVersion", arn)));
        let role = text(input, "Role");
        if !role.is_empty() {
            more.push(
                pass(role, SERVICE).with("iam:AssociatedResourceArn", vec![resource.clone()]),
            );
        }
    }
    if operation == "CreateFunction" && has_tags(input, "Tags") {
        more.push(Need::new("lambda:TagResource", resource.clone()).and(&tags(input, "Tags")));
    }
    if operation == "AddPermission" {
        need = need
            .with("lambda:Principal", values(input, "Principal"))
            .with("lambda:FunctionUrlAuthType", values(input, "FunctionUrlAuthType"));
    }
    if operation.ends_with("FunctionUrlConfig") {
        need = need
            .with("lambda:FunctionUrlAuthType", values(input, "AuthType"))
            .with("lambda:FunctionArn", vec![resource.clone()]);
    }
    // The caller's own right to the object, where the code comes from S3.
    let code = match operation {
        "CreateFunction" => input.get("Code"),
        "UpdateFunctionCode" => Some(input),
        "PublishLayerVersion" => input.get("Content"),
        _ => None,
    };
    if let Some(code) = code.filter(|code| !text(code, "S3Bucket").is_empty()) {
        let (bucket, key) = (text(code, "S3Bucket"), text(code, "S3Key"));
        let action = match text(code, "S3ObjectVersion") {
            "" => "s3:GetObject",
            _ => "s3:GetObjectVersion",
        };
        more.push(super::object(action, bucket, key));
    }
    more.insert(0, need);
    Some(Needs::All(more))
}

/// The ARN behind a function's name, `name:qualifier`, `account:function:name` or ARN.
fn function(asked: &Asked<'_>, given: &str, qualifier: Option<&str>) -> String {
    let rest = match given.split_once(":function:") {
        Some((_, rest)) => rest,
        None => given.strip_prefix("function:").unwrap_or(given),
    };
    let (name, inline) = match rest.split_once(':') {
        Some((name, inline)) => (name, Some(inline)),
        None => (rest, None),
    };
    let named = qualifier.and_then(|given| Some(given).filter(|q| !q.is_empty()).or(inline));
    let arn = match given.split_once(":function:") {
        Some((prefix, _)) if prefix.starts_with("arn:") => format!("{prefix}:function:{name}"),
        _ => asked.arn("lambda", &format!("function:{name}")),
    };
    match named {
        Some(qualifier) => format!("{arn}:{qualifier}"),
        None => arn,
    }
}

/// The ARN behind a layer's name or ARN.
fn layer(asked: &Asked<'_>) -> String {
    match asked.text("LayerName") {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        name => asked.arn("lambda", &format!("layer:{name}")),
    }
}
