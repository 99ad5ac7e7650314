//! The setup of a console, and its initial state.

use std::sync::Arc;

use crate::{
    domain::{
        argument_history::Recall, call::Operation, catalog::ConfirmPolicy, config_input::ConfigInput, console_layout::ConsoleLayout,
        time::Stamp, workflow::library::WorkflowLibrary, workspace::Environments,
    },
    state::ConsoleState,
    tui::{
        Startup,
        activity::Activity,
        copying::Invocation,
        dialog::Dialogs,
        graphics::Graphics,
        hits::HitMap,
        keymap::Keymap,
        layout::{Layout, Room},
        overlay::{approval::Approval, welcome::Welcome},
        state_mirror::StateMirror,
        theme::Theme,
        view::{Views, console::ConsoleView},
    },
};

use super::{Model, Session};

/// The setup of a console.
pub struct Setup {
    /// The colours.
    pub theme: Theme,
    /// The keys.
    pub keymap: Keymap,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// The configuration's name.
    pub title: String,
    /// What the console starts with.
    pub startup: Startup,
    /// Which calls are confirmed first.
    pub confirm: ConfirmPolicy,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The workflow files.
    pub workflows: WorkflowLibrary,
    /// Whether the tour of the demo is shown.
    pub tour: bool,
    /// A call of a tool to open with.
    pub opening: Option<Operation>,
    /// The layout of the last session.
    pub layout: ConsoleLayout,
    /// How this console was started.
    pub invocation: Invocation,
    /// The inputs that servers of the configuration use.
    pub inputs: Vec<ConfigInput>,
}

impl Model {
    /// Creates a console over a snapshot.
    pub fn new(setup: Setup, read_model: impl Into<Arc<ConsoleState>>, size: (u16, u16)) -> Model {
        let read_model = read_model.into();
        let mut model = Model {
            views: Views::new(&read_model),
            session: Session {
                mirror: StateMirror::new(read_model),
                now: Stamp::default(),
                tick: 0,
                theme: setup.theme,
                keymap: setup.keymap,
                title: setup.title,
                environments: Environments::default(),
                hits: HitMap::default(),
                graphics: Graphics::default(),
                covered: false,
            },
            console: ConsoleView::default(),
            layout: Layout::default(),
            activity: Activity::default(),
            dialogs: Dialogs::default(),
            toasts: vec![],
            sequence: vec![],
            size,
            zoom: false,
            activity_shown: true,
            room: Room::default(),
            drag: None,
            mouse: setup.mouse,
            consent: Default::default(),
            welcome_state: None,
            approval: None,
            rejected: None,
            config_inputs: vec![],
            ask_inputs: false,
            submitted: vec![],
            next_token: 1,
            engine_gone: false,
            confirm: setup.confirm,
            invocation: setup.invocation,
            in_editor: None,
            followed: None,
            completing: Default::default(),
            searching: false,
            copying: None,
            saved_last: None,
            searches: vec![],
            lines: vec![],
            tour: None,
            opening: setup.opening,
        };
        model.console.call.recall = setup.recall;
        model.prefer();
        model.flows_changed(&setup.workflows);
        model.inputs_changed(setup.inputs);
        model.restore_layout(&setup.layout);
        if setup.tour {
            model.begin_tour();
        }
        match setup.startup {
            Startup::Approval(prompt) => model.dialogs.push(Approval::new(prompt, Stamp::default())),
            Startup::Welcome(offer) => {
                model.welcome_state = Some(offer.clone());
                model.dialogs.push(Welcome::new(offer));
            }
            Startup::Normal | Startup::Empty => {}
        }
        model.console.tree.rebuild(model.session.read_model());
        model.activity = Activity::of(model.session.read_model());
        model.tell_earlier_notices();
        model.reconcile();
        model
    }
}
