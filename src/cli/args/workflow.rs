//! Arguments of `run` and `workflow`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    CheckArgs,
    values::{parse_answer, parse_setting},
};
use crate::domain::run::Setting;

/// `run`.
#[derive(Clone, Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("recorded").args(["resume", "undo"]).multiple(false))]
pub struct RunArgs {
    /// The workflow: its name, or the path of its file.
    #[arg(required_unless_present_any = ["resume", "undo"])]
    pub workflow: Option<String>,
    /// Input: key=value by the workflow's schema, key:=json as JSON, key=@FILE from a file (key=@@text for the text @text).
    #[arg(value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// The inputs given with `--input`, which every command has.
    #[arg(skip)]
    pub input: Vec<String>,
    /// Read the input, a JSON object, from this file; KEY=VALUE overrides it.
    #[arg(long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Write the outputs as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the steps as a JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Override a setting of a step for this run: STEP.timeout=20s, STEP.retry=3.
    #[arg(long, value_name = "STEP.KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<Setting>,
    /// Print the calls of the run without making them.
    #[arg(long)]
    pub dry_run: bool,
    /// Resume the interrupted run with this id; finished steps are not repeated.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["workflow", "assignments", "input_file", "set", "dry_run"])]
    pub resume: Option<String>,
    /// Undo what the run with this id did: runs the compensations that are left, and those that failed again.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["workflow", "assignments", "input_file", "set", "dry_run", "resume", "approve", "answer"])]
    pub undo: Option<String>,
    /// The recorded run and the step that a new run starts from (`runs from`).
    #[arg(skip)]
    pub from: Option<(String, String)>,
    /// Approve this step in advance.
    #[arg(long, value_name = "STEP")]
    pub approve: Vec<String>,
    /// Decline this step in advance.
    #[arg(long, value_name = "STEP")]
    pub decline: Vec<String>,
    /// Answer the form of this step in advance with a JSON object.
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
    pub answer: Vec<(String, String)>,
    /// Repeat this in-doubt step, although it may have run (of a for_each: each in-doubt item); needs --resume or --undo.
    #[arg(long, value_name = "STEP", requires = "recorded")]
    pub repeat: Vec<String>,
    /// Skip this in-doubt step and use this result (of a for_each: each in-doubt item); needs --resume or --undo.
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer, requires = "recorded")]
    pub skip: Vec<(String, String)>,
}

impl RunArgs {
    /// Returns the id, or a part of it, of the recorded run that the command continues, undoes or reuses.
    pub fn recorded(&self) -> Option<&str> {
        self.resume.as_deref().or(self.undo.as_deref()).or(self.from.as_ref().map(|(run, _)| run.as_str()))
    }
}

/// `runs`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunsArgs {
    /// The subcommand [default: list].
    #[command(subcommand)]
    pub command: Option<RunsCmd>,
}

/// The subcommands of `runs`.
#[derive(Clone, Debug, Subcommand)]
pub enum RunsCmd {
    /// List the last runs.
    List {
        /// Show only runs of this workflow.
        workflow: Option<String>,
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show a run: its steps, open questions, in-doubt steps and what is not undone.
    Show {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
    },
    /// Resume an interrupted run, or one that waits for an answer; finished steps are not repeated.
    Resume {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
        /// Approve this step.
        #[arg(long, value_name = "STEP")]
        approve: Vec<String>,
        /// Decline this step.
        #[arg(long, value_name = "STEP")]
        decline: Vec<String>,
        /// Answer the form of this step with a JSON object.
        #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
        answer: Vec<(String, String)>,
        /// Repeat this in-doubt step, although it may have run (of a for_each: each in-doubt item).
        #[arg(long, value_name = "STEP")]
        repeat: Vec<String>,
        /// Skip this in-doubt step and use this result (of a for_each: each in-doubt item).
        #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
        skip: Vec<(String, String)>,
        /// Write the steps as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Undo what a run did: runs the compensations that are left, and those that failed again.
    Undo {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
        /// Repeat this compensation, although it may have run.
        #[arg(long, value_name = "STEP")]
        repeat: Vec<String>,
        /// Count this compensation as done.
        #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
        skip: Vec<(String, String)>,
        /// Write the steps as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Run the workflow of a recorded run again from a step: earlier results are reused.
    From {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
        /// The step; it and the steps that need it run again.
        step: String,
        /// Approve this step in advance.
        #[arg(long, value_name = "STEP")]
        approve: Vec<String>,
        /// Answer the form of this step in advance with a JSON object.
        #[arg(long, value_name = "STEP=JSON", value_parser = parse_answer)]
        answer: Vec<(String, String)>,
        /// Write the steps as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
}

impl RunsCmd {
    /// Returns the arguments of `run` that do the same, if the subcommand runs steps.
    pub fn run_args(&self) -> Option<RunArgs> {
        let none = RunArgs::default;
        Some(match self.clone() {
            RunsCmd::List { .. } | RunsCmd::Show { .. } => return None,
            RunsCmd::Resume { run, approve, decline, answer, repeat, skip, junit } => {
                RunArgs { resume: Some(run), approve, decline, answer, repeat, skip, junit, ..none() }
            }
            RunsCmd::Undo { run, repeat, skip, junit } => RunArgs { undo: Some(run), repeat, skip, junit, ..none() },
            RunsCmd::From { run, step, approve, answer, junit } => RunArgs { from: Some((run, step)), approve, answer, junit, ..none() },
        })
    }
}

/// `calls`.
#[derive(Clone, Debug, Default, Args)]
pub struct CallsArgs {
    /// The subcommand [default: list].
    #[command(subcommand)]
    pub command: Option<CallsCmd>,
}

/// The subcommands of `calls`.
#[derive(Clone, Debug, Subcommand)]
pub enum CallsCmd {
    /// List the last calls of the history.
    List {
        /// Show at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show a call of the history with its arguments and its result.
    Show {
        /// The id of the call.
        call: String,
    },
}

/// `workflow`.
#[derive(Clone, Debug, Args)]
pub struct WorkflowArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: WorkflowCmd,
}

/// The subcommands of `workflow`.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkflowCmd {
    /// Check workflow files and print the errors with their positions.
    Check(WorkflowCheckArgs),
    /// List the workflows.
    List,
    /// Draw the graph of a workflow.
    Graph {
        /// The workflow: its name, or the path of its file.
        workflow: String,
        /// Set the output format.
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// Create a workflow file from a template or from a call in the history.
    New {
        /// The workflow's name.
        name: String,
        /// Create it from the call with this id in the history.
        #[arg(long, value_name = "CALL")]
        from_call: Option<String>,
        /// Print it instead of writing a file.
        #[arg(long)]
        print: bool,
    },
    /// Print the JSON Schema of workflow files, for editors.
    Schema,
    /// Run test files (NAME.test.toml) without servers [default: all files of the workflow folders].
    Test {
        /// The test files.
        files: Vec<PathBuf>,
        /// How findings are printed.
        #[command(flatten)]
        check: CheckArgs,
        /// Write the cases as a JUnit report to this file.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Create a test case from a finished run, with its recorded responses.
    TestFromRun {
        /// The id of the run, or at least four digits of its start or end.
        run: String,
        /// Set the name of the case.
        #[arg(long, value_name = "NAME")]
        case: Option<String>,
        /// Append it to the test file next to the workflow instead of printing it.
        #[arg(long)]
        write: bool,
    },
    /// Create a workflow from past calls, linking results to the arguments that use them.
    FromHistory {
        /// The workflow's name.
        #[arg(long, default_value = "from_history")]
        name: String,
        /// Use this many of the most recent tool calls.
        #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "ids")]
        last: usize,
        /// Use the calls with these ids, in this order.
        #[arg(long, value_name = "CALL", value_delimiter = ',')]
        ids: Vec<String>,
        /// Write it to the workflow folder instead of printing it.
        #[arg(long)]
        write: bool,
    },
}

/// `workflow check`.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkflowCheckArgs {
    /// The workflows: names or paths of files [default: all].
    pub workflows: Vec<String>,
    /// Start the servers and check the calls against their tools.
    #[arg(long)]
    pub live: bool,
    /// How findings are printed.
    #[command(flatten)]
    pub check: CheckArgs,
}

/// Output format of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// Boxes and lines.
    #[default]
    Text,
    /// Mermaid, which GitHub displays.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
}
