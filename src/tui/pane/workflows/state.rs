//! The glyph, text and style of step and run states. No state is shown by colour alone.

use ratatui::style::Style;

use crate::{
    domain::{
        run::{RunOutcome, StepState, StepView},
        time::short,
    },
    state::runs::RunView,
    tui::{pane::DrawContext, theme::Theme},
};

/// Returns a step's glyph and style.
pub fn of_step(view: &StepView, ctx: DrawContext) -> (&'static str, Style) {
    let theme = ctx.theme;
    match &view.state {
        StepState::Pending => ("·", theme.muted),
        StepState::Waiting { .. } => ("◔", theme.warn),
        StepState::Running => (ctx.spinner(), theme.running),
        StepState::Ok if view.fallback.is_some() => ("▞", theme.warn),
        StepState::Ok if view.items.is_some_and(|items| items.failed > 0) => ("!", theme.warn),
        StepState::Ok => ("✓", theme.ok),
        StepState::Skipped { .. } => ("↷", theme.muted),
        StepState::Failed { .. } => ("✕", theme.fail),
        StepState::Cancelled { .. } => ("–", theme.muted),
        StepState::Compensating => (ctx.spinner(), theme.warn),
        StepState::Compensated => ("↶", theme.warn),
        StepState::CompensationFailed { .. } => ("‼", theme.fail),
    }
}

/// Describes a step's state.
pub fn words(view: &StepView) -> String {
    match &view.state {
        StepState::Ok if view.from_before() => "restored".into(),
        StepState::Ok if view.fallback.is_some() => "ok by fallback".into(),
        state => state.word().into(),
    }
}

/// Returns the text in the upper border of a step's box: state and time.
pub fn above(view: &StepView, ctx: DrawContext) -> String {
    let (glyph, _) = of_step(view, ctx);
    match &view.state {
        StepState::Pending => String::new(),
        StepState::Skipped { .. }
        | StepState::Cancelled { .. }
        | StepState::Compensating
        | StepState::Compensated
        | StepState::CompensationFailed { .. } => {
            format!("{glyph} {}", words(view))
        }
        StepState::Waiting { .. } => format!("{glyph} waiting"),
        _ => match view.took(ctx.now) {
            Some(took) => format!("{glyph} {}", short(took)),
            None => format!("{glyph} {}", words(view)),
        },
    }
}

/// Returns the text in the lower border: items, attempts, fallback.
pub fn below(view: &StepView) -> String {
    match (view.items, view.attempts, &view.fallback) {
        (Some(items), ..) if items.failed > 0 => format!("{}/{} ✕{}", items.done, items.total, items.failed),
        (Some(items), ..) => format!("{}/{}", items.done, items.total),
        (None, attempts, Some(_)) if attempts > 1 => format!("↻{attempts} fallback"),
        (None, _, Some(_)) => "fallback".into(),
        (None, attempts @ 2.., None) => format!("↻{attempts}"),
        _ => String::new(),
    }
}

/// Returns a run's glyph, text and style.
pub fn of_run(run: &RunView, ctx: DrawContext) -> (&'static str, &'static str, Style) {
    let theme = ctx.theme;
    match &run.report {
        Some(report) => {
            let (glyph, style) = of_outcome(report.outcome, theme);
            (glyph, report.outcome.words(), style)
        }
        None if run.steps.iter().any(|step| matches!(step.state, StepState::Compensating)) => (ctx.spinner(), "compensating", theme.warn),
        None if run.steps.iter().any(|step| matches!(step.state, StepState::Waiting { .. })) => (ctx.spinner(), "waiting", theme.warn),
        None => (ctx.spinner(), "running", theme.running),
    }
}

/// Returns an outcome's glyph and style.
pub fn of_outcome(outcome: RunOutcome, theme: &Theme) -> (&'static str, Style) {
    match outcome {
        RunOutcome::Ok => ("✓", theme.ok),
        RunOutcome::Partial => ("!", theme.warn),
        RunOutcome::Compensated => ("↶", theme.warn),
        RunOutcome::Cancelled => ("–", theme.muted),
        RunOutcome::InDoubt | RunOutcome::Waiting => ("?", theme.warn),
        RunOutcome::CompensationFailed => ("‼", theme.fail),
        RunOutcome::Failed | RunOutcome::TimedOut | RunOutcome::Refused | RunOutcome::Invalid => ("✕", theme.fail),
    }
}
