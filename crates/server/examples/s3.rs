//! S3 alone, for trying it with real clients: `cargo run --example s3 -- DIR`. Prints its address. The
//! credentials are fixed and known to everybody, so it listens on the loopback address only.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kennel_server::context::{Caller, Clock, Principal, Timestamp};
use kennel_server::iam::{self, Iam};
use kennel_server::identity::{Authorizer, Credentials, Denied, Question, Secret, Unknown};
use kennel_server::s3::{self, BucketPolicies, S3Front, S3Options};
use kennel_store::objects::{FileStore, MIGRATIONS};
use kennel_store::state::Database;

const ACCOUNT: &str = "123456789012";

struct Fixed;

impl Credentials for Fixed {
    fn lookup(&self, access_key: &str, _now: Timestamp) -> Result<Secret, Unknown> {
        let session_token = match access_key {
            "AKIAKENNELEXAMPLE" => None,
            "ASIAKENNELEXAMPLE" => Some("a/session+token==".to_owned()),
            "ASIAKENNELEXPIRED" => return Err(Unknown::Expired),
            _ => return Err(Unknown::NoSuchKey),
        };
        let caller = Caller {
            account: ACCOUNT.to_owned(),
            principal: Principal::Root,
            access_key: access_key.to_owned(),
        };
        Ok(Secret { secret: "kennel-example-secret".to_owned(), session_token, caller })
    }
}

impl Authorizer for Fixed {
    fn authorize(&self, question: Question<'_>) -> Result<(), Denied> {
        match question.caller {
            Some(_) => Ok(()),
            None => {
                let message = "who has not signed may do nothing here".to_owned();
                Err(Denied { reason: message.clone(), message })
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args().nth(1).map(PathBuf::from).ok_or("which folder?")?;
    std::fs::create_dir_all(&root)?;
    let migrations = [MIGRATIONS, iam::MIGRATIONS, s3::MIGRATIONS];
    let database = Database::open(&root.join("state.db"), &migrations)?;
    let iam = Iam::open(database.clone(), &root, Some(ACCOUNT), Clock.now()).await?;
    let store = FileStore::open(&root.join("objects"), database.clone())?;
    let front = S3Front::new(S3Options {
        store: Arc::new(store),
        credentials: Arc::new(Fixed),
        authorizer: Arc::new(Fixed),
        policies: BucketPolicies::new(database, iam),
        account: ACCOUNT.to_owned(),
        region: "us-east-1".to_owned(),
        base_domains: Vec::new(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let front = front.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let front = front.clone();
                async move { Ok::<_, std::convert::Infallible>(front.call(request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service);
            if let Err(e) = served.await {
                eprintln!("{e}");
            }
        });
    }
}
