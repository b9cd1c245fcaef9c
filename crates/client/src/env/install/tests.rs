use super::*;

fn server() -> ServerRecord {
    ServerRecord {
        pid: 1,
        address: "127.0.0.1:4566".into(),
        url: "http://127.0.0.1:4566".into(),
        region: "us-east-1".into(),
        account: "123456789012".into(),
        version: None,
    }
}

fn options<'a>(data: &'a Path, server: &'a ServerRecord, config: &Path) -> InstallOptions<'a> {
    InstallOptions {
        data_dir: data,
        server,
        program: "/opt/my tools/kennel".into(),
        python: None,
        aws_config: config.to_owned(),
    }
}

/// All files below a folder with their content.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = crate::files::walk(folder).unwrap();
    files.into_iter().map(|(path, name)| (name, std::fs::read(path).unwrap())).collect()
}

#[test]
fn what_was_installed_goes_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let config = home.path().join("aws/config");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, b"[default]\nregion = eu-west-1\n[profile x]\r\noutput=\xffjson")
        .unwrap();
    let before = snapshot(home.path());

    let server = server();
    let first = install(&options(&data, &server, &config)).unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&config).unwrap()).into_owned();
    assert!(
        text.contains("credential_process = \"/opt/my tools/kennel\" credentials --data-dir \""),
        "{text}"
    );
    assert!(data.join("python/sitecustomize.py").is_file());
    let installed_once = snapshot(home.path());
    assert_eq!(install(&options(&data, &server, &config)).unwrap(), first);
    assert_eq!(snapshot(home.path()), installed_once);

    std::fs::create_dir(data.join("python/__pycache__")).unwrap();
    std::fs::write(data.join("python/__pycache__/kennel_sts.cpython-311.pyc"), b"").unwrap();
    assert_eq!(uninstall(&data).unwrap(), first);
    assert_eq!(snapshot(home.path()), before);
    assert!(!data.join("python").exists());
    assert_eq!(uninstall(&data).unwrap(), Installed::default());
}

#[test]
fn a_file_made_for_the_profile_goes_with_it() {
    let home = tempfile::tempdir().unwrap();
    let (data, config) = (home.path().join("data"), home.path().join("aws/config"));
    std::fs::create_dir_all(&data).unwrap();
    let server = server();
    install(&options(&data, &server, &config)).unwrap();
    // A second run finds the file but still knows who made it.
    install(&options(&data, &server, &config)).unwrap();
    uninstall(&data).unwrap();
    assert!(!config.exists());
}

#[test]
fn a_users_own_profile_is_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    std::fs::write(&config, "[profile kennel]\nregion = x\n").unwrap();
    let server = server();
    let error = install(&options(home.path(), &server, &config)).unwrap_err();
    assert!(error.to_string().contains("of your own"), "{error}");
    assert_eq!(snapshot(home.path()).len(), 1);
}

/// A stand-in for the SDK, as far as the hook sees it, and another `sitecustomize` behind ours.
fn fake_sdk(folder: &Path) {
    let package = folder.join("sagemaker");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    let utils = "def sts_regional_endpoint(region):\n    return 'original ' + region\n";
    std::fs::write(package.join("utils.py"), utils).unwrap();
    let session = "from sagemaker.utils import sts_regional_endpoint\n";
    std::fs::write(package.join("session.py"), session).unwrap();
    std::fs::write(folder.join("sitecustomize.py"), "MARK = 'ran'\n").unwrap();
}

#[test]
fn the_hook_follows_the_endpoint_and_is_off_without_one() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let server = server();
    install(&options(&data, &server, &home.path().join("config"))).unwrap();
    let sdk = home.path().join("sdk");
    fake_sdk(&sdk);
    let path = format!("{}:{}", data.join("python").display(), sdk.display());
    let script = "import sys, sitecustomize; assert 'botocore' not in sys.modules\n\
                  from sagemaker import session, utils\n\
                  print(sitecustomize.MARK, session.sts_regional_endpoint('r'), \
                  utils.sts_regional_endpoint('r'), session.__spec__.loader is session.__loader__)";
    let run = |variables: &[(&str, &str)]| {
        let output = Command::new("python3")
            .args(["-B", "-c", script])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("PYTHONPATH", &path)
            .envs(variables.iter().copied())
            .output()
            .expect("python3 is needed for this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(run(&[]), "ran original r original r True");
    let endpoint = ("AWS_ENDPOINT_URL", "http://here");
    assert_eq!(run(&[endpoint]), "ran http://here http://here True");
    let own = ("AWS_ENDPOINT_URL_STS", "http://sts");
    assert_eq!(run(&[endpoint, own]), "ran http://sts http://sts True");
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert_eq!(run(&[endpoint, ignored]), "ran original r original r True");
}
