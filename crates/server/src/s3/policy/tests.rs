use bytes::Bytes;
use http::Request;
use kennel_store::objects::{FileStore, ObjectStore as _};
use serde_json::json;

use crate::authorize::tests::{ACCOUNT, Stand, stand};
use crate::s3::tests::{Call, answer, refused};
use crate::s3::{AccessNote, S3Front, S3Options};

/// S3 with real policies, a bucket `pet` with an object `k`, and two users.
struct Shop {
    stand: Stand,
    front: S3Front,
    root: (String, String),
    ann: (String, String),
    bob: (String, String),
}

type Got = (http::StatusCode, String, AccessNote);

async fn shop() -> Shop {
    let stand = stand().await;
    let store = FileStore::open(&stand.folder.path().join("objects"), stand.database.clone());
    let store = store.unwrap();
    store.create_bucket("pet", "us-east-1", 1).await.unwrap();
    let body = kennel_store::objects::body_of("photo");
    store.put("pet", "k", body, Default::default()).await.unwrap();
    let front = S3Front::new(S3Options {
        store: std::sync::Arc::new(store),
        credentials: std::sync::Arc::new(stand.iam.clone()),
        authorizer: std::sync::Arc::new(stand.authorizer.clone()),
        policies: stand.buckets.clone(),
        account: ACCOUNT.to_owned(),
        region: "us-east-1".to_owned(),
        base_domains: Vec::new(),
    });
    let root = stand.iam.root();
    let root = (root.access_key_id.clone(), root.secret_access_key.clone());
    let (ann, bob) = (stand.user("ann").await, stand.user("bob").await);
    Shop { stand, front, root, ann, bob }
}

impl Shop {
    async fn call(&self, who: &(String, String), method: &str, path: &str, body: &str) -> Got {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let call = Call::new(method, path, body.as_bytes()).by((&who.0, &who.1)).asking(query);
        answer(&self.front, call.signed()).await
    }

    async fn unsigned(&self, method: &str, path: &str) -> Got {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:1");
        answer(&self.front, request.body(Bytes::new()).unwrap()).await
    }

    async fn policy(&self, policy: serde_json::Value) -> Got {
        self.call(&self.root, "PUT", "/pet?policy=", &policy.to_string()).await
    }

    /// Lets public policies in.
    async fn open(&self) {
        let got = self.call(&self.root, "DELETE", "/pet?publicAccessBlock=", "").await;
        assert_eq!(got.0, 204, "{}", got.1);
    }
}

fn statement(effect: &str, principal: serde_json::Value, action: &str) -> serde_json::Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": effect, "Principal": principal, "Action": action,
        "Resource": ["arn:aws:s3:::pet", "arn:aws:s3:::pet/*"],
    }]})
}

#[tokio::test]
async fn who_has_no_policy_is_refused_in_s3s_words() {
    let shop = shop().await;
    let got = shop.call(&shop.ann, "GET", "/pet/k", "").await;
    refused(&got, 403, "AccessDenied");
    let words = format!(
        "User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to perform: s3:GetObject on resource: &quot;arn:aws:s3:::pet/k&quot; because no identity-based policy allows the s3:GetObject action"
    );
    assert!(got.1.contains(&words), "{}", got.1);
    assert!(!got.2.allowed);
    assert_eq!(got.2.reason.as_deref(), Some("no identity-based policy allows it"));
    let read = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pet/*"}]});
    shop.stand.inline("ann", &read).await;
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 200);
    // Which keys there are is for those to know who may list.
    let missing = shop.call(&shop.ann, "GET", "/pet/none", "").await;
    refused(&missing, 403, "AccessDenied");
    assert!(missing.1.contains("s3:ListBucket"), "{}", missing.1);
    refused(&shop.call(&shop.root, "GET", "/pet/none", "").await, 404, "NoSuchKey");
    let batch = "<Delete><Object><Key>k</Key></Object></Delete>";
    let got = shop.call(&shop.ann, "POST", "/pet?delete=", batch).await;
    assert!(got.0 == 200 && got.1.contains("<Code>AccessDenied</Code>"), "{}", got.1);
    assert_eq!(got.2.needs.len(), 1);
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 200);
}

#[tokio::test]
async fn a_buckets_policy_lets_in_and_keeps_out_whom_it_names() {
    let shop = shop().await;
    let ann = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")});
    refused(&shop.call(&shop.root, "GET", "/pet?policy=", "").await, 404, "NoSuchBucketPolicy");
    let policy = statement("Allow", ann.clone(), "s3:GetObject");
    assert_eq!(shop.policy(policy.clone()).await.0, 204);
    let got = shop.call(&shop.root, "GET", "/pet?policy=", "").await;
    assert_eq!((got.0.as_u16(), got.1), (200, policy.to_string()));
    let status = shop.call(&shop.root, "GET", "/pet?policyStatus=", "").await;
    assert!(status.1.contains("<IsPublic>false</IsPublic>"), "{}", status.1);
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 200);
    assert_eq!(shop.call(&shop.bob, "GET", "/pet/k", "").await.0, 403);
    assert_eq!(shop.unsigned("GET", "/pet/k").await.0, 403);
    // A deny keeps the root out, too, but not from the policy itself.
    let deny = statement("Deny", json!("*"), "s3:*");
    assert_eq!(shop.policy(deny).await.0, 204);
    let got = shop.call(&shop.root, "GET", "/pet/k", "").await;
    refused(&got, 403, "AccessDenied");
    assert!(got.1.contains("with an explicit deny in a resource-based policy"), "{}", got.1);
    assert_eq!(shop.call(&shop.root, "DELETE", "/pet?policy=", "").await.0, 204);
    assert_eq!(shop.call(&shop.root, "GET", "/pet/k", "").await.0, 200);
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 403);
}

#[tokio::test]
async fn strangers_get_what_a_public_policy_gives_unless_that_is_blocked() {
    let shop = shop().await;
    let public = statement("Allow", json!("*"), "s3:GetObject");
    // New buckets take no public policy.
    let block = shop.call(&shop.root, "GET", "/pet?publicAccessBlock=", "").await;
    assert_eq!(block.1.matches(">true<").count(), 4, "{}", block.1);
    let got = shop.policy(public.clone()).await;
    refused(&got, 403, "AccessDenied");
    assert!(got.1.contains("BlockPublicPolicy"), "{}", got.1);
    shop.open().await;
    refused(
        &shop.call(&shop.root, "GET", "/pet?publicAccessBlock=", "").await,
        404,
        "NoSuchPublicAccessBlockConfiguration",
    );
    assert_eq!(shop.policy(public).await.0, 204);
    let status = shop.call(&shop.root, "GET", "/pet?policyStatus=", "").await;
    assert!(status.1.contains("<IsPublic>true</IsPublic>"), "{}", status.1);
    let got = shop.unsigned("GET", "/pet/k").await;
    assert_eq!((got.0.as_u16(), got.1.as_str()), (200, "photo"));
    assert!(got.2.allowed && got.2.caller.is_none());
    for (method, path) in [
        ("PUT", "/pet/k"),
        ("DELETE", "/pet/k"),
        ("GET", "/pet"),
        ("GET", "/"),
        ("PUT", "/new"),
        ("GET", "/pet?policy"),
        ("DELETE", "/pet?policy"),
        ("PUT", "/pet?versioning"),
        ("GET", "/pet/none"),
    ] {
        let got = shop.unsigned(method, path).await;
        refused(&got, 403, "AccessDenied");
        assert!(got.1.contains("<Message>Access Denied</Message>"), "{method} {path}: {}", got.1);
    }
    // Later blocks count, whatever the policy says.
    let block = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
    let got = shop.call(&shop.root, "PUT", "/pet?publicAccessBlock=", block).await;
    assert_eq!(got.0, 200, "{}", got.1);
    assert_eq!(shop.unsigned("GET", "/pet/k").await.0, 403);
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 200);
}

#[tokio::test]
async fn policies_that_are_none_are_refused_and_the_old_one_stays() {
    let shop = shop().await;
    let of = |resource: &str, action: &str, principal: serde_json::Value| {
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource}]})
        .to_string()
    };
    let own = json!({"AWS": ACCOUNT});
    let good = of("arn:aws:s3:::pet/*", "s3:GetObject", own.clone());
    assert_eq!(shop.call(&shop.root, "PUT", "/pet?policy=", &good).await.0, 204);
    let nobody = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/nobody")});
    for (text, words) in [
        ("{not json".to_owned(), "Policies must be valid JSON"),
        (of("arn:aws:s3:::other/*", "s3:GetObject", own.clone()), "Policy has invalid resource"),
        (of("*", "s3:GetObject", own.clone()), "Policy has invalid resource"),
        (of("arn:aws:s3:::petb/*", "s3:GetObject", own.clone()), "Policy has invalid resource"),
        (of("arn:aws:s3:::pet/*", "sqs:SendMessage", own.clone()), "Policy has invalid action"),
        (of("arn:aws:s3:::pet/*", "s3:GetObject", nobody), "Invalid principal in policy"),
        (r#"{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::pet/*"}]}"#.to_owned(), "Principal"),
    ] {
        let got = shop.call(&shop.root, "PUT", "/pet?policy=", &text).await;
        refused(&got, 400, "MalformedPolicy");
        assert!(got.1.contains(words), "{words}: {}", got.1);
    }
    let large = format!("{}{}", " ".repeat(21_000), good);
    refused(&shop.call(&shop.root, "PUT", "/pet?policy=", &large).await, 400, "InvalidArgument");
    refused(&shop.call(&shop.root, "PUT", "/none?policy=", &good).await, 404, "NoSuchBucket");
    assert_eq!(shop.call(&shop.root, "GET", "/pet?policy=", "").await.1, good);
}

#[tokio::test]
async fn a_policy_goes_with_its_bucket_and_means_a_user_and_not_a_name() {
    let shop = shop().await;
    let ann = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")});
    assert_eq!(shop.policy(statement("Allow", ann.clone(), "s3:*")).await.0, 204);
    assert_eq!(shop.call(&shop.ann, "GET", "/pet/k", "").await.0, 200);
    let key = json!({"UserName": "ann", "AccessKeyId": shop.ann.0});
    shop.stand.run("DeleteAccessKey", key).await;
    shop.stand.run("DeleteUser", json!({"UserName": "ann"})).await;
    let later = shop.stand.user("ann").await;
    assert_eq!(shop.call(&later, "GET", "/pet/k", "").await.0, 403);
    // Named again, she is meant.
    assert_eq!(shop.policy(statement("Allow", ann, "s3:*")).await.0, 204);
    assert_eq!(shop.call(&later, "GET", "/pet/k", "").await.0, 200);
    assert_eq!(shop.call(&later, "DELETE", "/pet/k", "").await.0, 204);
    assert_eq!(shop.call(&later, "DELETE", "/pet", "").await.0, 204);
    assert_eq!(shop.call(&shop.root, "PUT", "/pet", "").await.0, 200);
    assert_eq!(shop.call(&later, "PUT", "/pet/k", "x").await.0, 403);
    refused(&shop.call(&shop.root, "GET", "/pet?policy=", "").await, 404, "NoSuchBucketPolicy");
}
