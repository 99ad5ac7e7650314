//! What the console has at its start.

use tokio::sync::watch;

use crate::{
    control::{Workspace, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    domain::{
        argument_history::Recall,
        console_layout::ConsoleLayout,
        workspace::{ApprovalPrompt, ServerSource},
    },
    tui::Startup,
};

/// What the workspace has at the start.
pub(super) struct Start {
    pub changes: watch::Receiver<WorkspaceState>,
    pub known: WorkspaceState,
    pub startup: Startup,
    pub recall: Recall,
    pub layout: ConsoleLayout,
}

impl Start {
    pub(super) async fn of(workspace: &dyn Workspace) -> Start {
        let mut changes = workspace.state();
        let known = changes.borrow_and_update().clone();
        let recall = match workspace.request(WorkspaceRequest::Recall).await {
            Ok(WorkspaceReply::Recall(recall)) => recall,
            _ => Recall::default(),
        };
        let layout = match workspace.request(WorkspaceRequest::Layout).await {
            Ok(WorkspaceReply::Layout(layout)) => layout,
            _ => ConsoleLayout::default(),
        };
        let startup = match (&known.approval, known.identity.source) {
            (Some(prompt), _) => Startup::Approval(ApprovalPrompt::clone(prompt)),
            (None, ServerSource::NoneConfigured) => match workspace.request(WorkspaceRequest::FindServers).await {
                Ok(WorkspaceReply::Welcome(offer)) => Startup::Welcome(offer),
                _ => Startup::Empty,
            },
            (None, ServerSource::Configuration | ServerSource::CommandLine) => Startup::Normal,
        };
        Start { changes, known, startup, recall, layout }
    }
}
