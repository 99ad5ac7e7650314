//! Finds out what a user can do about a stdio server that does not start: from its command, the files on this machine and the
//! variables that are not passed on. Never from values of variables.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::spawn;
use crate::{
    domain::{
        advice::{
            Advice, EntryLanguage, container_variables, container_without_stdin, is_windows_path, language_of, mentioned_variables,
            without_windows_shell,
        },
        secret::{Redactor, Secret, rule},
        server::{ConnectFailure, Exit, ServerSpec, Transport},
    },
    executable,
};

/// Most names of variables in one piece of advice.
const NAMES: usize = 5;
/// The exit code of shells and of `env` for a program that does not exist.
const NO_PROGRAM: i32 = 127;
/// `ENOEXEC`: the file is not a program of this system.
const NO_FORMAT: i32 = 8;

/// Returns the advice for a program that could not be started.
pub fn of_spawn(spec: &ServerSpec, error: &io::Error) -> Vec<Advice> {
    let Transport::Stdio { command, args, cwd, .. } = &spec.launch else { return vec![] };
    if let Some(folder) = cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return vec![Advice::CorrectFolder { folder: folder.clone() }];
    }
    let language = language_of(spec);
    let file = path_of(command, cwd.as_deref(), spec);
    let missing = file.is_none();
    let mut words = match shlex::split(command).filter(|words| missing && words.len() > 1) {
        Some(words) => words,
        None => vec![command.clone()],
    };
    let split = words.len() > 1;
    words.extend(args.iter().map(|arg| arg.expose().to_owned()));
    let advice = match (file, error.kind()) {
        _ if without_windows_shell(&words).is_some() => {
            Advice::LeaveOutWindowsShell { words: masked(without_windows_shell(&words).unwrap_or_default()), language }
        }
        _ if is_windows_path(command) => Advice::ReplaceWindowsPath,
        _ if split => Advice::SplitCommand { words: masked(&words), language },
        (Some(folder), _) if folder.is_dir() => Advice::NameProgram { folder },
        (Some(file), io::ErrorKind::NotFound) => missing_interpreter(spec, file),
        (Some(file), io::ErrorKind::PermissionDenied) => Advice::MakeExecutable { file },
        (Some(file), _) if error.raw_os_error() == Some(NO_FORMAT) => Advice::UseProgramOfThisSystem { file },
        (None, io::ErrorKind::NotFound) => not_found(command, cwd.as_deref(), language),
        _ => return vec![],
    };
    vec![advice]
}

/// Returns the advice for a program that was started and did not become ready.
pub fn of_failure(spec: &ServerSpec, failure: &ConnectFailure) -> Vec<Advice> {
    let Transport::Stdio { command, cwd, .. } = &spec.launch else { return vec![] };
    let mut advice = vec![];
    if failure.exit == Some(Exit::Code(NO_PROGRAM))
        && let Some(file) = path_of(command, cwd.as_deref(), spec)
        && let missing @ Advice::InstallInterpreter { .. } = missing_interpreter(spec, file)
    {
        advice.push(missing);
    }
    advice.extend(container_without_stdin(&spec.launch).map(|program| Advice::AddInteractive { program }));
    let passed_on = container_variables(&spec.launch);
    let mentioned = passed_on.iter().copied().chain(mentioned_variables(&failure.stderr));
    let mut held_back: Vec<String> = vec![];
    for name in mentioned.filter(|name| spawn::holds_back(&spec.launch, name)) {
        if held_back.len() < NAMES && !held_back.iter().any(|known| known == name) {
            held_back.push(name.to_owned());
        }
    }
    if !held_back.is_empty() {
        advice.push(Advice::PassVariables { names: held_back, language: language_of(spec) });
    }
    let unset = passed_on.into_iter().filter(|name| !spawn::gives(&spec.launch, name) && std::env::var_os(name).is_none());
    let unset: Vec<String> = unset.take(NAMES).map(str::to_owned).collect();
    if !unset.is_empty() {
        advice.push(Advice::SetVariables { names: unset });
    }
    advice
}

/// Returns the file of a command, if there is one.
fn path_of(command: &str, cwd: Option<&Path>, spec: &ServerSpec) -> Option<PathBuf> {
    if !command.contains('/') {
        return executable::find(command, &executable::path_of(&spec.launch)?);
    }
    let file = full_path(command, cwd);
    file.exists().then_some(file)
}

fn full_path(command: &str, cwd: Option<&Path>) -> PathBuf {
    cwd.map_or_else(|| PathBuf::from(command), |cwd| cwd.join(command))
}

fn not_found(command: &str, cwd: Option<&Path>, language: EntryLanguage) -> Advice {
    if command.contains('/') {
        return Advice::CorrectPath { file: full_path(command, cwd) };
    }
    match find_elsewhere(command) {
        Some(elsewhere) => Advice::UseElsewhere { command: command.to_owned(), elsewhere, language },
        None => Advice::Install { command: command.to_owned() },
    }
}

/// Returns the advice for a script whose interpreter may be missing.
fn missing_interpreter(spec: &ServerSpec, script: PathBuf) -> Advice {
    let Some(words) = executable::interpreter(&script) else { return Advice::UseProgramOfThisSystem { file: script } };
    let path = executable::path_of(&spec.launch).unwrap_or_default();
    // `env` looks its first word up that is neither an option nor a variable.
    let by_env = words.first().is_some_and(|word| word.ends_with("/env"));
    let name = match words.iter().skip(1).find(|word| !word.starts_with('-') && !word.contains('=')) {
        Some(word) if by_env => word.clone(),
        _ => words.first().cloned().unwrap_or_default(),
    };
    let exists = if name.contains('/') { Path::new(&name).exists() } else { executable::find(&name, &path).is_some() };
    if exists {
        return Advice::UseProgramOfThisSystem { file: script };
    }
    Advice::InstallInterpreter { elsewhere: find_elsewhere(&name), script, interpreter: name }
}

fn find_elsewhere(command: &str) -> Option<crate::domain::advice::Elsewhere> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    executable::elsewhere(command, home.as_deref(), |name| std::env::var_os(name))
}

/// Masks the secrets in the words of a command line.
fn masked(words: &[String]) -> Vec<String> {
    let secrets = rule::of_arguments(&words.iter().map(Secret::literal).collect::<Vec<_>>());
    let redactor = Redactor::brief(&secrets);
    words.iter().map(|word| redactor.redact(word)).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::domain::server::Step;

    fn spec(command: &str, args: &[&str]) -> ServerSpec {
        let args = args.iter().map(|arg| Secret::literal(*arg)).collect();
        let env = vec![("PATH".to_owned(), Secret::literal("/usr/bin:/bin"))];
        ServerSpec::new("s", Transport::Stdio { command: command.into(), args, env, inherit_env: false, cwd: None })
    }

    fn advice(spec: &ServerSpec, kind: io::ErrorKind) -> Advice {
        let [advice] = &of_spawn(spec, &kind.into())[..] else { panic!("{spec:?}") };
        advice.clone()
    }

    #[test]
    fn the_cause_of_a_failed_start_is_found_in_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let language = EntryLanguage::CommandLine;
        let (missing, denied) = (io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied);
        let split = |line: &str| Advice::SplitCommand { words: words(line), language };
        assert_eq!(advice(&spec("npx -y @scope/pkg", &["--flag"]), missing), split("npx -y @scope/pkg --flag"));
        assert_eq!(advice(&spec("\"python3\" -m http.server", &[]), missing), split("python3 -m http.server"));
        let shell = Advice::LeaveOutWindowsShell { words: words("npx -y x"), language };
        assert_eq!(advice(&spec("cmd", &["/c", "npx", "-y", "x"]), missing), shell);
        assert_eq!(advice(&spec("cmd /c npx -y x", &[]), missing), shell);
        assert_eq!(advice(&spec("C:\\Program Files\\node.exe", &[]), missing), Advice::ReplaceWindowsPath);
        let folder = dir.path().to_owned();
        assert_eq!(advice(&spec(&folder.display().to_string(), &[]), denied), Advice::NameProgram { folder });
        let plain = write("plain.txt", "hello");
        assert_eq!(advice(&spec(&plain.display().to_string(), &[]), denied), Advice::MakeExecutable { file: plain });
        let none = dir.path().join("none");
        assert_eq!(advice(&spec(&none.display().to_string(), &[]), missing), Advice::CorrectPath { file: none });
        let script = write("script", "#!/no/such/interpreter -x\n");
        let interpreter = "/no/such/interpreter".to_owned();
        let wanted = Advice::InstallInterpreter { script: script.clone(), interpreter, elsewhere: None };
        assert_eq!(advice(&spec(&script.display().to_string(), &[]), missing), wanted);
        assert_eq!(advice(&spec("no-such-program-0", &[]), missing), Advice::Install { command: "no-such-program-0".into() });
        // Secrets of the command line are not repeated.
        let Advice::SplitCommand { words, .. } = advice(&spec("npx x --api-key k3y-abcdef-012345", &[]), missing) else { panic!() };
        assert!(!words.join(" ").contains("k3y-"), "{words:?}");
    }

    #[test]
    fn the_cause_of_an_early_end_is_found_in_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "#!/usr/bin/env -S no-such-interpreter-0 --x\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let failure = |code, stderr: &[&str]| ConnectFailure {
            exit: Some(Exit::Code(code)),
            stderr: stderr.iter().map(|line| (*line).to_owned()).collect(),
            ..ConnectFailure::new(Step::Initialize, "the program ended")
        };
        let found = of_failure(&spec(&script.display().to_string(), &[]), &failure(NO_PROGRAM, &[]));
        let interpreter = "no-such-interpreter-0".to_owned();
        assert_eq!(found, [Advice::InstallInterpreter { script, interpreter, elsewhere: None }]);
        let docker = spec("docker", &["run", "--rm", "-e", "NO_SUCH_VARIABLE_0", "img"]);
        let wanted =
            [Advice::AddInteractive { program: "docker".into() }, Advice::SetVariables { names: vec!["NO_SUCH_VARIABLE_0".into()] }];
        assert_eq!(of_failure(&docker, &failure(1, &[])), wanted);
        // Cargo sets it for its tests, and no server gets it.
        let names = vec!["CARGO_MANIFEST_DIR".to_owned()];
        let held = of_failure(&spec("sh", &[]), &failure(1, &["CARGO_MANIFEST_DIR is required, PATH is fine, NO_SUCH_VARIABLE_0 too"]));
        assert_eq!(held, [Advice::PassVariables { names, language: EntryLanguage::CommandLine }]);
    }
}
