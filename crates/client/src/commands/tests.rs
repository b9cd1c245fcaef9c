use clap::{CommandFactory, Parser};

use super::*;
use crate::testing::{Reply, Server, ok};

/// The program.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: All,
}

// As the binary takes the commands in.
#[derive(Debug, clap::Subcommand)]
enum All {
    #[command(flatten)]
    Platform(Command),
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
    let deploy = Cli::command().find_subcommand_mut("deploy").unwrap().render_help().to_string();
    let (own, connection) = deploy.split_once("Connection:").unwrap();
    assert!(own.contains("--update") && connection.contains("--aws"), "{deploy}");
    assert!(!connection.contains("--update"), "{deploy}");
    for good in [
        "k status --json",
        "k env --install --python x",
        "k env --shell fish --root",
        "k credentials --data-dir d",
        "k bucket ls s3://b/p --aws --profile x --region r",
        "k bucket --data-dir d cp -r a s3://b",
        "k job start j --data s3://b/x --data validation=v -H epochs=3 --hyperparameter lr=0.1",
        "k job logs j -f --since 2h",
        "k endpoint scale e --count 2 --variant v",
        "k logs tail g --follow",
        "k deploy m.tar.gz --name e --update",
        "k invoke e --url https://x/y.jpg",
        "k function ls --json",
        "k function create f --dir d --handler a.b --runtime python3.12 --role r --env A=1 --env B=",
        "k function deploy-classifier --endpoint e --aws --region us-east-1",
        "k function invoke f --payload @x.json --qualifier live --log",
        "k function logs f --follow",
        "k function concurrency f --no-reserved",
        "k function publish f --alias live",
    ] {
        Cli::try_parse_from(good.split(' ')).unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    for bad in [
        "k env --install --uninstall",
        "k env --python x",
        "k bucket ls --aws --data-dir d",
        "k job start j",
        "k endpoint scale e",
        "k invoke e",
        "k invoke e p.jpg --url u",
        "k deploy m --update",
        "k function create f --handler a.b --runtime python3.12 --role r",
        "k function create f --zip z --dir d --handler a.b --runtime python3.12 --role r",
        "k function create f --dir d --handler a.b --runtime r --role r --env =1",
        "k function deploy-classifier",
    ] {
        assert!(Cli::try_parse_from(bad.split(' ')).is_err(), "{bad}");
    }
}

#[test]
fn texts_become_names() {
    assert_eq!(as_name("my dogs__v2.", 63), "my-dogs-v2");
    assert_eq!(as_name("a-b-c", 2), "a");
    assert_eq!(as_name("übel", 10), "bel");
}

#[test]
fn the_default_bucket_may_exist() {
    let owned = Reply(
        409,
        vec![],
        b"<Error><Code>BucketAlreadyOwnedByYou</Code><Message>m</Message></Error>".to_vec(),
    );
    let server = Server::replies(vec![owned]);
    let found = default_bucket(&server.client()).unwrap();
    assert_eq!(found.bucket, "sagemaker-us-east-1-123456789012");
    let taken = Reply(409, vec![], b"<Error><Code>BucketAlreadyExists</Code></Error>".to_vec());
    assert!(default_bucket(&Server::replies(vec![taken]).client()).is_err());
}

#[test]
fn roles_are_looked_up_by_name_only() {
    let server = Server::replies(vec![ok(
        "<R><GetRoleResult><Role><Arn>arn:found</Arn></Role></GetRoleResult></R>",
    )]);
    let client = server.client();
    assert_eq!(role_arn(&client, Some("arn:given")).unwrap(), "arn:given");
    assert_eq!(role_arn(&client, Some("name")).unwrap(), "arn:found");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn the_native_image_is_not_at_aws() {
    let client = Server::replies(vec![ok("")]).client();
    assert_eq!(image(&client, "image-classification").unwrap(), NATIVE_IMAGE);
    let mut target = client.target().clone();
    target.endpoint = None;
    let error = image(&Client::new(target), "image-classification").unwrap_err();
    assert!(matches!(error, ClientError::NotImplemented(_)));
}

#[test]
fn the_program_keeps_its_description() {
    assert_eq!(Cli::command().get_about().map(ToString::to_string).as_deref(), Some("The program"));
}
