//! The action table: every action that a key, the footer, the help or the palette can run.
//!
//! Help, footer, palette and the action names of the keymap all come from this table. Used by every part of the console.

/// The section of help and palette that an action belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Works everywhere.
    General,
    /// Moves a cursor.
    Move,
    /// Concerns servers.
    Servers,
    /// Builds and sends a call.
    Call,
    /// Shows results and calls.
    Results,
    /// Runs workflows.
    Workflows,
    /// Answers a dialog.
    Dialogs,
}

impl Group {
    /// All groups in the order of help.
    pub const ALL: [Group; 7] =
        [Group::General, Group::Move, Group::Servers, Group::Call, Group::Results, Group::Workflows, Group::Dialogs];

    /// Returns the heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::General => "Everywhere",
            Group::Move => "Moving",
            Group::Servers => "Servers",
            Group::Call => "Calling",
            Group::Results => "Results and traffic",
            Group::Workflows => "Workflows",
            Group::Dialogs => "Dialogs",
        }
    }
}

macro_rules! actions {
    ($($variant:ident $name:literal $label:literal $group:ident $palette:literal $help:literal;)*) => {
        /// An action that the user can run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $(#[doc = $help] $variant,)*
        }

        impl Action {
            /// Every action, in the order of the table.
            pub const ALL: &[Action] = &[$(Action::$variant,)*];

            /// Returns its name in keymaps.
            pub fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// Returns its label in the footer.
            pub fn label(self) -> &'static str {
                match self { $(Action::$variant => $label,)* }
            }

            /// Returns its section in help.
            pub fn group(self) -> Group {
                match self { $(Action::$variant => Group::$group,)* }
            }

            /// Returns whether the palette always lists it. Other actions are listed where they are enabled.
            pub fn in_palette(self) -> bool {
                match self { $(Action::$variant => $palette,)* }
            }

            /// Returns its description: an imperative of at most 60 characters without a full stop.
            pub fn help(self) -> &'static str {
                match self { $(Action::$variant => $help,)* }
            }

            /// Returns the action with this name.
            pub fn from_name(name: &str) -> Option<Action> {
                match name { $($name => Some(Action::$variant),)* _ => None }
            }
        }
    };
}

actions! {
    Quit "quit" "quit" General true "Leave Switchboard; asks while calls are running";
    Help "help" "help" General true "Show every key";
    Palette "palette" "palette" General true "Run any command by name, jump to any tool";
    Back "back" "back" General false "Go back (never quits)";
    NextPane "next-pane" "next pane" General false "Go to the next pane";
    PreviousPane "previous-pane" "previous pane" General false "Go to the previous pane";
    ViewConsole "view-console" "console" General true "Go to the console: servers, calls, results";
    ViewTraffic "view-traffic" "traffic" General true "Go to the traffic: every call and message as it happens";
    ViewTimeline "view-timeline" "timeline" General true "Go to the timeline: calls as bars on a shared time axis";
    ViewHealth "view-health" "health" General true "Go to the health of servers and tools: figures and breakers";
    ViewWorkflows "view-workflows" "workflows" General true "Go to the workflows: run them and watch their graphs";
    Filter "filter" "filter" General true "Find a tool of any server";
    Welcome "welcome" "add servers" General true "Add servers: from this machine, a file, a URL or a command";
    Review "review-project" "review project" General false "Show the approval of the rejected project again";
    Inputs "inputs" "inputs" General true "Give the values that configuration files ask for";
    Activity "activity" "activity" General true "Show or hide the activity of the last minute";
    Zoom "zoom" "zoom" General true "Maximise or restore the pane";
    Inbox "inbox" "inbox" General true "Open the questions of servers";
    Notices "notices" "notifications" General true "Show past notifications";
    Describe "describe" "describe" General true "Show everything about a tool, server, resource or workflow";
    Copy "copy" "copy" General true "Copy a value, JSON, a command line, curl or frames";
    ToggleMouse "toggle-mouse" "mouse" General true "Capture the mouse, or release it to the terminal";
    Redraw "redraw" "redraw" General true "Redraw";
    Suspend "suspend" "suspend" General true "Suspend Switchboard; fg resumes it";

    Up "up" "up" Move false "Move up";
    Down "down" "down" Move false "Move down";
    Left "left" "fold" Move false "Move left, or fold";
    Right "right" "unfold" Move false "Move right, or unfold";
    PageUp "page-up" "page up" Move false "Move up by a page";
    PageDown "page-down" "page down" Move false "Move down by a page";
    Top "top" "top" Move false "Go to the first row";
    Bottom "bottom" "bottom" Move false "Go to the last row";
    Open "open" "open" Move false "Open the selected row";

    Restart "restart" "restart" Servers true "Restart the server";
    Disable "disable" "disable" Servers true "Disconnect the server, or start it again";
    Refresh "refresh" "reload lists" Servers true "Reload tools, resources and prompts";
    Login "login" "log in" Servers true "Log in to the server in the browser";
    EditServer "edit-server" "edit" Servers true "Edit the server's table in its file with $EDITOR";
    ServerMenu "server-menu" "change" Servers true "Disable, duplicate or remove the server in its file";
    LogDebug "log-debug" "debug logs" Servers true "Request log messages of level debug and above";
    LogInfo "log-info" "info logs" Servers true "Request log messages of level info and above";
    Breakers "breakers" "breakers" Servers true "Show circuit breakers, or go back to the figures";
    Routes "routes" "routes" Servers true "Show replicas, routes and fallbacks, or go back";
    Clients "clients" "clients" Servers true "Show the clients of the gateway and their calls, or go back";
    BreakerTrip "breaker-trip" "open breaker" Servers true "Open the breaker; probes close it again";
    BreakerHoldOpen "breaker-hold-open" "hold open" Servers true "Hold the breaker open until it is reset";
    BreakerHoldClosed "breaker-hold-closed" "hold closed" Servers true "Hold the breaker closed until it is reset";
    BreakerReset "breaker-reset" "reset" Servers true "Close the breaker, clear its override and its window";
    Inject "inject" "inject fault" Servers true "Inject a fault: latency, failures, cut or corrupt responses";
    StopFaults "stop-faults" "stop faults" Servers true "Stop the selected fault, or all injected faults";
    ClearCache "clear-cache" "clear cache" Servers true "Clear cached results that match a pattern";
    Favourite "favourite" "favourite" Servers true "Mark or unmark the tool, prompt or resource as a favourite";
    Fold "fold" "fold" Servers false "Fold or unfold the selected server, group or value";
    FoldAll "fold-all" "fold all" Servers true "Fold every server";
    UnfoldAll "unfold-all" "unfold all" Servers true "Unfold every server";

    Send "send" "send" Call true "Send the call with the arguments of the form";
    SendUnchecked "send-unchecked" "send unchecked" Call false "Send arguments or an answer that violate their schema";
    EditField "edit-field" "type" Call true "Edit the selected field";
    AddItem "add-item" "add" Call true "Add an item to the list, or a member to the object";
    RemoveItem "remove-item" "remove" Call true "Remove the item or the added member";
    MoveItemUp "move-item-up" "move up" Call true "Move the item up";
    MoveItemDown "move-item-down" "move down" Call true "Move the item down";
    UnsetField "unset-field" "unset" Call true "Unset the field, so that it is not sent";
    SetNull "set-null" "null" Call true "Set the field to null, if it is nullable";
    SetEmpty "set-empty" "empty text" Call true "Set the field to an empty text, object or list";
    ToggleJson "toggle-json" "as JSON" Call true "Edit the arguments as JSON, or in the form";
    Editor "editor" "$EDITOR" Call true "Edit the arguments in $EDITOR";
    Undo "undo" "undo" Call false "Undo the last change";
    Reset "reset" "clear" Call true "Reset the arguments to the defaults";
    LongText "long-text" "long text" Call false "Edit the field in a multi-line editor";
    FieldEditor "field-editor" "field in $EDITOR" Call true "Edit the field in $EDITOR";
    Complete "complete" "complete" Call false "Insert the server's completion, then the next one";
    InsertValue "insert-value" "earlier value" Call false "Insert a value of an earlier result into the field";
    Burst "burst" "send many" Call true "Send the call many times, several in parallel";
    Watch "watch" "watch" Call true "Send the call at an interval and mark what changed";
    SaveCall "save-call" "save call" Call true "Save the tool with its arguments under a name";
    Subscribe "subscribe" "subscribe" Call true "Subscribe to or unsubscribe from changes";
    Cancel "cancel" "cancel call" Call true "Cancel the call";

    NextTab "next-tab" "next tab" Results false "Show the next tab";
    PreviousTab "previous-tab" "previous tab" Results false "Show the previous tab";
    Frames "frames" "frames" Results false "Show the messages of the call";
    FormResult "form-result" "result" Results false "Go from the form to its result, or back";
    ToggleSource "toggle-source" "source" Results true "Show Markdown as written, or rendered";
    Search "search" "search" Results true "Search in the result";
    History "history" "history" Results true "Search the calls of earlier sessions";
    Sessions "sessions" "sessions" Results true "List earlier sessions; Enter shows the traffic of one";
    Statistics "statistics" "statistics" Results true "Show calls, errors and durations of the last day";
    Drift "drift" "drift" Results true "Show what servers changed in their lists and instructions";
    NextMatch "next-match" "next match" Results false "Go to the next match";
    PreviousMatch "previous-match" "previous match" Results false "Go to the previous match";
    FoldLevel "fold-level" "fold a level" Results false "Fold one more level everywhere in the value";
    UnfoldLevel "unfold-level" "unfold" Results false "Unfold one more level everywhere in the value";
    JsonPath "json-path" "JSONPath" Results true "Filter the result by a JSONPath (RFC 9535)";
    Save "save" "save" Results true "Save the result, or an image or audio clip of it";
    SaveNow "save-now" "save now" Results true "Save the result to a new file in the current folder";
    OpenMedia "open-media" "open outside" Results true "Open an image or audio clip in another program";
    Compare "compare" "compare" Results true "Compare two marked calls or servers, or with the call before";
    SendAgain "send-again" "send again" Results true "Send the same call again";
    EditAgain "edit-again" "edit and resend" Results true "Edit the call's arguments in the form";
    Follow "follow" "follow" Results true "Follow the newest call";
    Sort "sort" "sort" Results true "Sort the traffic by the next column, a table by this one";
    ReverseSort "reverse-sort" "reverse" Results true "Reverse the order";
    CompleteFilter "complete-filter" "complete" Results false "Complete the word of the filter";
    Lanes "lanes" "lanes by" Results true "Draw lanes by client, or by server again";
    ZoomIn "zoom-in" "zoom in" Results true "Zoom in: less time, more detail";
    ZoomOut "zoom-out" "zoom out" Results true "Zoom out: more time";
    NextCall "next-call" "next call" Results false "Go to the next call of the lane";
    PreviousCall "previous-call" "previous call" Results false "Go to the previous call of the lane";

    RunWorkflow "run-workflow" "run" Workflows true "Run the workflow; asks for its input first";
    DryRun "dry-run" "dry run" Workflows true "Show the calls that a run would make; makes none";
    RunAgain "run-again" "run again" Workflows true "Run the workflow again with the same input";
    RunFrom "run-from" "from here" Workflows true "Run again from the selected step with the earlier results";
    ResumeRun "resume-run" "resume" Workflows true "Resume an interrupted run; asks about in-doubt steps";
    CancelStep "cancel-step" "cancel step" Workflows true "Cancel the step; the run continues as on_error says";
    EditWorkflow "edit-workflow" "edit" Workflows true "Edit the workflow file in $EDITOR";
    Mark "mark" "mark" Workflows true "Mark or unmark the call or the server";
    SaveWorkflow "save-workflow" "as workflow" Workflows true "Save the call, form or marked calls as a workflow";

    Choose "choose" "select" Dialogs false "Select the row under the cursor";
    Answer "answer" "answer" Dialogs false "Send the answer";
    Decline "decline" "decline" Dialogs false "Decline the question";
    CancelQuestion "cancel-question" "cancel" Dialogs false "Cancel the question without an answer";
    AnswerFile "answer-file" "from a file" Dialogs false "Read the answer from a file";
    NextQuestion "next-question" "next" Dialogs false "Go to the next question";
    OpenUrl "open-url" "open in browser" Dialogs false "Open the URL in the browser";
    CopyUrl "copy-url" "copy URL" Dialogs false "Copy the URL";
    Yes "yes" "yes" Dialogs false "Answer yes, this once";
    Always "always" "yes, always" Dialogs false "Answer yes, and do not ask again for this tool";
    TrustServer "trust-server" "trust server" Dialogs false "Answer yes, and trust the server for this session";
    No "no" "no" Dialogs false "Answer no";
    Approve "approve" "approve" Dialogs false "Approve the project's file in its current state";
    Reject "reject" "reject" Dialogs false "Start without the project's file";
}

impl Action {
    /// Names from before the first release and their actions: a keymap with one gets a hint with the new name.
    pub const RENAMED: [(&str, Action); 8] = [
        ("strip", Action::Activity),
        ("believe", Action::TrustServer),
        ("withdraw", Action::CancelQuestion),
        ("leave-out", Action::UnsetField),
        ("purge-cache", Action::ClearCache),
        ("end-faults", Action::StopFaults),
        ("fire", Action::Send),
        ("refire", Action::SendAgain),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_help_is_short() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(*action));
            assert!(!action.help().is_empty() && !action.label().is_empty());
            let length = action.help().chars().count();
            assert!(length <= 60 && !action.help().ends_with('.'), "{length} characters: {}", action.help());
        }
        assert_eq!(Action::from_name("no such thing"), None);
    }
}
