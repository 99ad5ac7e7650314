//! Headless commands on a terminal: colours and the pager.

use crate::session::program;

fn words<'w>(program: &'w str, line: &'w [&'w str]) -> Vec<&'w str> {
    [program].into_iter().chain(line.iter().copied()).collect()
}

/// Runs a command on a terminal; returns its output.
fn output(line: &[&str], env: &[(&str, &str)]) -> String {
    let words = words(crate::session::switchboard(), line);
    let setup = env.iter().fold(program(&words), |setup, (name, value)| setup.env(name, value));
    setup.start().ended().code(0).last_words()
}

const GREEN: &str = "\u{1b}[32m";

#[test]
fn tables_have_colours_on_a_terminal_only_if_wanted() {
    let line = ["servers", "--demo", "--server", "database"];
    assert!(output(&line, &[]).contains(GREEN));
    assert!(!output(&line, &[("NO_COLOR", "1")]).contains('\u{1b}'));
    assert!(!output(&line, &[("CLICOLOR", "0")]).contains('\u{1b}'));
    let always = ["servers", "--demo", "--server", "database", "--color", "always"];
    assert!(output(&always, &[("NO_COLOR", "1")]).contains(GREEN));
}

#[test]
fn long_output_goes_through_the_pager() {
    let pager = [("PAGER", "sed 's/^/paged: /'")];
    let line = ["tools", "--demo", "--server", "database", "--schema"];
    let paged = output(&line, &pager);
    // Progress may be between the lines.
    assert!(paged.matches("paged: ").count() > 10 && paged.contains("database_"), "{paged}");
    let direct = output(&["tools", "--demo", "--server", "database", "--schema", "--no-pager"], &pager);
    assert!(!direct.contains("paged: ") && direct.contains("database_"), "{direct}");
    let short = output(&["tools", "--demo", "--server", "database"], &pager);
    assert!(!short.contains("paged: "), "{short}");
}
