//! Findings of checks, as text, in the format of compilers, as SARIF 2.1.0, as commands of GitHub Actions, and as a summary in
//! Markdown.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{args::FindingFormat, print::Printer, session::Stop};
use crate::domain::{
    call::{Failure, FailureKind},
    config_error::ConfigError,
    plural::counted,
    text::visible,
};

/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something cannot be used.
    Error,
    /// Something may not work as intended.
    Warning,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The rule, a stable word: `config`, `workflow`, `server`, `test`.
    pub rule: &'static str,
    /// The file, or `None` if the finding is not about a file.
    pub file: Option<PathBuf>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// What was found, with its subject; one line.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&ConfigError> for Finding {
    fn from(error: &ConfigError) -> Finding {
        let ConfigError { file, line, column, server, key, message, hint, unusable } = error;
        let server = server.as_ref().map(|server| format!("server `{server}`: ")).unwrap_or_default();
        let key = key.as_ref().map(|key| format!("`{key}` ")).unwrap_or_default();
        Finding {
            severity: if *unusable { Severity::Error } else { Severity::Warning },
            rule: "config",
            file: file.clone(),
            line: *line,
            column: *column,
            message: format!("{server}{key}{message}"),
            hint: hint.as_deref().map(str::to_owned),
        }
    }
}

impl Finding {
    fn place(&self) -> String {
        let Some(file) = &self.file else { return "switchboard".into() };
        let mut place = file.display().to_string();
        for number in [self.line, self.line.and(self.column)].into_iter().flatten() {
            place.push_str(&format!(":{number}"));
        }
        place
    }

    fn full_message(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}{hint}", self.message)
    }
}

/// Prints findings in a format other than text; returns whether it did.
pub fn print(printer: &mut Printer, format: FindingFormat, findings: &[Finding]) -> Result<bool, Stop> {
    match format {
        FindingFormat::Text => return Ok(false),
        FindingFormat::Gcc => {
            for finding in findings {
                printer.line(&format!("{}: {}: {}", finding.place(), finding.severity.word(), finding.full_message()))?;
            }
        }
        FindingFormat::Github => {
            for finding in findings {
                printer.line(&github_command(finding))?;
            }
        }
        FindingFormat::Sarif => printer.document(&sarif(findings))?,
    }
    Ok(true)
}

/// Prints a finding as text: place and message, and the hint below.
pub fn print_text(printer: &mut Printer, finding: &Finding) -> Result<(), Stop> {
    printer.line(&format!("{}: {}: {}", finding.place(), finding.severity.word(), finding.message))?;
    if let Some(hint) = &finding.hint {
        printer.line(&format!("  try: {hint}"))?;
    }
    Ok(())
}

/// Returns the command of GitHub Actions that annotates a line.
/// Source: "Workflow commands for GitHub Actions", setting an error message.
fn github_command(finding: &Finding) -> String {
    let property = |text: &str| {
        let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        text.replace(':', "%3A").replace(',', "%2C")
    };
    let mut properties: Vec<String> = vec![];
    if let Some(file) = &finding.file {
        properties.push(format!("file={}", property(&relative(file))));
        properties.extend(finding.line.map(|line| format!("line={line}")));
        properties.extend(finding.column.map(|column| format!("col={column}")));
    }
    let space = if properties.is_empty() { "" } else { " " };
    let message = finding.full_message().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    format!("::{}{space}{}::{message}", finding.severity.word(), properties.join(","))
}

/// Returns the path as a repository has it: relative to the current folder, if it is inside.
fn relative(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    file.strip_prefix(&here).unwrap_or(file).display().to_string()
}

/// Returns findings as a SARIF log with one run.
fn sarif(findings: &[Finding]) -> Value {
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let result = |finding: &Finding| {
        let mut result = json!({
            "ruleId": finding.rule,
            "level": finding.severity.word(),
            "message": { "text": finding.full_message() },
        });
        if let Some(file) = &finding.file {
            let mut location = json!({ "artifactLocation": { "uri": uri(&relative(file)) } });
            if let Some(line) = finding.line {
                location["region"] = json!({ "startLine": line });
                if let Some(column) = finding.column {
                    location["region"]["startColumn"] = column.into();
                }
            }
            result["locations"] = json!([{ "physicalLocation": location }]);
        }
        result
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "switchboard",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| json!({ "id": rule })).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// Returns a path as a URI reference (RFC 3986): other bytes than unreserved ones and slashes are percent-encoded.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Appends a summary in Markdown to a file, as `GITHUB_STEP_SUMMARY` of GitHub Actions wants it.
pub fn append_summary(
    printer: &mut Printer,
    file: Option<&Path>,
    title: &str,
    rows: &[[String; 3]],
    findings: &[Finding],
) -> Result<(), Stop> {
    let Some(file) = file else { return Ok(()) };
    let text = printer.masked_text(&summary(title, rows, findings));
    let written = OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error: io::Error| {
        Stop::from(Failure::new(FailureKind::Refused, format!("the summary cannot be written to {}: {error}", file.display())))
    })
}

/// Returns the summary: a table of what was checked, and the findings.
fn summary(title: &str, rows: &[[String; 3]], findings: &[Finding]) -> String {
    let cell = |text: &str| visible(text).replace('|', "\\|").replace('<', "&lt;").replace('`', "'");
    let mut out = format!("### {title}\n\n");
    if !rows.is_empty() {
        out.push_str("| | Name | State |\n|---|---|---|\n");
        for [mark, name, state] in rows {
            out.push_str(&format!("| {} | `{}` | {} |\n", cell(mark), cell(name), cell(state)));
        }
        out.push('\n');
    }
    for finding in findings {
        out.push_str(&format!("- **{}** `{}`: {}\n", finding.severity.word(), cell(&finding.place()), cell(&finding.full_message())));
    }
    if findings.is_empty() {
        out.push_str("No findings.\n");
    }
    out.push('\n');
    out
}

/// Returns how many errors and warnings there are: `2 errors, 1 warning`.
pub fn count(findings: &[Finding]) -> String {
    let of = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    format!("{}, {}", counted(of(Severity::Error), "error"), counted(of(Severity::Warning), "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{print::Format, test_support::buffers};

    fn finding() -> Finding {
        Finding {
            severity: Severity::Error,
            rule: "config",
            file: Some("/a b/config.toml".into()),
            line: Some(3),
            column: Some(7),
            message: "`comand` unknown key: 100%".into(),
            hint: Some("did you mean `command`?".into()),
        }
    }

    #[test]
    fn each_format_has_the_place_and_the_message() {
        let (io, out, _) = buffers(None);
        let mut printer = Printer::new(io, Format::Human, false);
        print(&mut printer, FindingFormat::Gcc, &[finding()]).unwrap_or_else(|_| panic!());
        print(&mut printer, FindingFormat::Github, &[finding()]).unwrap_or_else(|_| panic!());
        printer.flush().unwrap();
        assert_eq!(
            out.text(),
            "/a b/config.toml:3:7: error: `comand` unknown key: 100% (did you mean `command`?)\n\
             ::error file=/a b/config.toml,line=3,col=7::`comand` unknown key: 100%25 (did you mean `command`?)\n"
        );
        let log = sarif(&[finding()]);
        let result = &log["runs"][0]["results"][0];
        assert_eq!(log["version"], "2.1.0");
        assert_eq!(result["level"], "error");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "file:///a%20b/config.toml");
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 7 }));
    }

    #[test]
    fn a_finding_without_a_file_has_no_place() {
        let finding = Finding { file: None, line: None, column: None, ..finding() };
        assert!(sarif(std::slice::from_ref(&finding))["runs"][0]["results"][0].get("locations").is_none());
        assert!(github_command(&finding).starts_with("::error::"));
    }

    #[test]
    fn the_summary_is_a_table_that_texts_cannot_break() {
        let text = summary("Servers", &[["✓".into(), "a|b".into(), "<b>ready".into()]], &[finding()]);
        assert!(text.contains("| ✓ | `a\\|b` | &lt;b>ready |") && text.contains("**error** `/a b/config.toml:3:7`"), "{text}");
        assert!(summary("x", &[], &[]).contains("No findings."));
    }
}
