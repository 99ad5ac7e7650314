//! The input pane of a workflow: a form from its schema, or JSON. Remembers the entered input for the session.

use std::{collections::HashMap, sync::Arc};

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{body::Body, workflow::plan::Plan},
    tui::{
        action::Action,
        keymap::Context,
        pane::DrawContext,
        widget::{
            arguments::{Arguments, draw_complaints},
            paint::{Pen, padded, pane, wrap},
        },
    },
};

/// The pane.
#[derive(Default)]
pub struct InputPane {
    name: Option<Arc<str>>,
    description: String,
    arguments: Arguments,
    memory: HashMap<Arc<str>, String>,
}

impl InputPane {
    /// Shows a workflow with its remembered input.
    pub(super) fn show(&mut self, name: Option<&Arc<str>>, plan: Option<&Arc<Plan>>) {
        let schema = plan.map(|plan| plan.input.clone()).unwrap_or_default();
        if self.name.as_ref() == name && *self.arguments.schema() == schema {
            return;
        }
        if let (Some(name), (Some(json), _)) = (&self.name, self.arguments.remembered()) {
            self.memory.insert(name.clone(), json);
        }
        self.name = name.cloned();
        self.description = plan.and_then(|plan| plan.description.clone()).unwrap_or_default();
        let values = name.and_then(|name| self.memory.get(name)).map(String::as_str);
        self.arguments = plan.map(|_| Arguments::new(schema, values)).unwrap_or_default();
    }

    /// Returns the input under edit.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Returns the input under edit, for changes.
    pub fn arguments_mut(&mut self) -> &mut Arguments {
        &mut self.arguments
    }

    /// Returns the input if it is valid. Otherwise the pane shows the problems.
    pub fn validated(&mut self) -> Option<Body> {
        match self.arguments.submit() {
            Ok(body) => Some(body),
            Err(problems) => {
                self.arguments.complain(&problems);
                None
            }
        }
    }

    /// Returns the preferred height of the pane, its border included.
    pub fn rows_wanted(&self) -> u16 {
        let fields = if self.arguments.exist() { self.arguments.rows() + 3 } else { 1 };
        u16::try_from(fields).unwrap_or(u16::MAX).saturating_add(5)
    }

    /// Draws the pane.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let contexts = [if self.arguments.wants_text() { Context::InputText } else { Context::Input }];
        let key = |action| ctx.keys.key(&contexts, action).unwrap_or_default();
        let right = format!("{} run · {} dry run", key(Action::RunWorkflow), key(Action::DryRun));
        let right = if self.arguments.exist() { right } else { String::new() };
        let inner = pane(buf, area, &[("Input", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let inner = padded(inner);
        if !self.arguments.exist() {
            let text = match &self.name {
                Some(_) => "The workflow file is missing or has errors, so it cannot run",
                None => "No workflow selected",
            };
            Pen::new(buf, inner, 0).put(text, theme.muted);
            return;
        }
        let mut y = 0;
        for row in wrap(&self.description, inner.width).iter().filter(|row| !row.is_empty()).take(usize::from(inner.height / 4)) {
            Pen::new(buf, inner, y).put(row, theme.muted);
            y += 1;
        }
        y += u16::from(y > 0);
        let complaints = self.arguments.complaint_rows(inner.width);
        let below = (complaints.len() as u16).min(inner.height.saturating_sub(y + 1));
        let body = Rect { y: inner.y + y.min(inner.height), height: inner.height.saturating_sub(y + below), ..inner };
        if !self.arguments.draw(ctx, body, buf) {
            Pen::new(buf, body, 0).put("No input", theme.muted);
        }
        draw_complaints(&complaints, ctx, Rect { y: inner.bottom().saturating_sub(below), height: below, ..inner }, buf);
    }
}
