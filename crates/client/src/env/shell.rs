//! Exports in the language of a shell.

use clap::ValueEnum;

/// Shells that `kennel env` speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh, dash
    Posix,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// A variable to be set, unset or prepended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(&'static str, String),
    Unset(&'static str),
    /// Put before what a search path holds.
    Prepend(&'static str, String),
}

/// One line.
pub(crate) fn line(shell: Shell, change: &Change) -> String {
    match (shell, change) {
        (Shell::Posix, Change::Set(name, value)) => format!("export {name}={}", posix(value)),
        (Shell::Posix, Change::Unset(name)) => format!("unset {name}"),
        (Shell::Posix, Change::Prepend(name, value)) => {
            format!("export {name}={}\"${{{name}:+:${name}}}\"", posix(value))
        }
        (Shell::Fish, Change::Set(name, value)) => format!("set -gx {name} {}", fish(value)),
        (Shell::Fish, Change::Unset(name)) => format!("set -e {name}"),
        (Shell::Fish, Change::Prepend(name, value)) => {
            let value = fish(value);
            format!(
                "set -q {name}; and set -gx {name} {value}\":${name}\"; or set -gx {name} {value}"
            )
        }
        (Shell::Powershell, Change::Set(name, value)) => {
            format!("$Env:{name} = {}", powershell(value))
        }
        (Shell::Powershell, Change::Unset(name)) => {
            format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue")
        }
        (Shell::Powershell, Change::Prepend(name, value)) => {
            let value = powershell(value);
            format!(
                "$Env:{name} = if ($Env:{name}) {{ {value} + [IO.Path]::PathSeparator + $Env:{name} }} else {{ {value} }}"
            )
        }
    }
}

fn posix(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+=@%,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn powershell(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_each_shell() {
        let set = Change::Set("A", "it's \\ $x".into());
        assert_eq!(line(Shell::Posix, &set), "export A='it'\\''s \\ $x'");
        assert_eq!(line(Shell::Fish, &set), "set -gx A 'it\\'s \\\\ $x'");
        assert_eq!(line(Shell::Powershell, &set), "$Env:A = 'it''s \\ $x'");
        let plain = Change::Set("A", "http://127.0.0.1:4566".into());
        assert_eq!(line(Shell::Posix, &plain), "export A=http://127.0.0.1:4566");
    }

    #[test]
    fn a_posix_shell_agrees() {
        let lines = [
            line(Shell::Posix, &Change::Set("A", "it's \"$HOME\" \\n".into())),
            line(Shell::Posix, &Change::Prepend("B", "/x y".into())),
            line(Shell::Posix, &Change::Prepend("C", "/x".into())),
            line(Shell::Posix, &Change::Unset("D")),
        ];
        let script =
            format!("{}; printf '%s|%s|%s|%s' \"$A\" \"$B\" \"$C\" \"$D\"", lines.join(";"));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("B", "/old")
            .env_remove("C")
            .env("D", "1")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's \"$HOME\" \\n|/x y:/old|/x|");
    }
}
