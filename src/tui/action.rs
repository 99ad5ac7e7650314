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
    /// Builds and fires a call.
    Call,
    /// Looks at results and calls.
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

    /// The heading.
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
    Palette "palette" "palette" General true "Do anything by name, jump to any tool";
    Back "back" "back" General false "Step out of what you are in; never quits";
    NextPane "next-pane" "next pane" General false "Go to the next pane";
    PreviousPane "previous-pane" "previous pane" General false "Go to the pane before";
    ViewConsole "view-console" "console" General true "Go to the console: servers, calls, results";
    ViewTraffic "view-traffic" "traffic" General true "Go to the traffic: every call and message as it happens";
    ViewTimeline "view-timeline" "timeline" General true "Go to the timeline: calls as bars on a shared time axis";
    ViewHealth "view-health" "health" General true "Go to the health of servers and tools: rates, percentiles, failures, breakers, routes, stderr";
    ViewWorkflows "view-workflows" "workflows" General true "Go to the workflows: flows over several servers, drawn as graphs, run and watched";
    Filter "filter" "filter" General true "Find a tool of any server";
    Welcome "welcome" "get servers" General true "Get servers: configurations on this machine, the demo, a file, an address or a command";
    Review "review-project" "review project" General false "Show again what the project asks for, after it was rejected";
    Strip "strip" "strip" General true "Show the last minute of all servers, or hide it";
    Zoom "zoom" "zoom" General true "Give the pane the whole screen, or give it back";
    Inbox "inbox" "inbox" General true "Open the questions that servers ask";
    Notices "notices" "notices" General true "List what Switchboard had to say";
    Copy "copy" "copy" General true "Copy to the clipboard: value, JSON, command, curl, frames";
    ToggleMouse "toggle-mouse" "mouse" General true "Use the mouse here, or leave it to the terminal";
    Redraw "redraw" "redraw" General true "Draw the screen anew";
    Suspend "suspend" "suspend" General true "Stop Switchboard and go back to the shell; fg resumes it";

    Up "up" "up" Move false "Up";
    Down "down" "down" Move false "Down";
    Left "left" "fold" Move false "Left, or fold";
    Right "right" "unfold" Move false "Right, or unfold";
    PageUp "page-up" "page up" Move false "A page up";
    PageDown "page-down" "page down" Move false "A page down";
    Top "top" "top" Move false "To the first";
    Bottom "bottom" "bottom" Move false "To the last";
    Open "open" "open" Move false "Open what is under the cursor";

    Restart "restart" "restart" Servers true "Start the server anew, whatever state it is in";
    Disable "disable" "disable" Servers true "Disconnect the server and leave it alone, or start it again";
    Refresh "refresh" "refresh lists" Servers true "Read the server's tools, resources and prompts again";
    LogDebug "log-debug" "debug logs" Servers true "Ask the server for its debug log messages";
    LogInfo "log-info" "info logs" Servers true "Ask the server for log messages of level info and above";
    Breakers "breakers" "breakers" Servers true "Show the circuit breaker of every server, or go back to the figures";
    Routes "routes" "routes" Servers true "Show groups of replicas, routes, fallbacks and where the last calls went, or go back";
    BreakerTrip "breaker-trip" "trip" Servers true "Open the breaker of the server or tool now; it closes again as after failures";
    BreakerHoldOpen "breaker-hold-open" "hold open" Servers true "Keep the breaker open until it is reset: nothing is called there";
    BreakerHoldClosed "breaker-hold-closed" "hold closed" Servers true "Keep the breaker closed until it is reset, whatever fails";
    BreakerReset "breaker-reset" "reset" Servers true "Close the breaker, let go of what is held, forget what was counted";
    Inject "inject" "inject fault" Servers true "Make a fault on purpose at the server or tool: latency, failures, cut or damaged answers";
    EndFaults "end-faults" "end faults" Servers true "End the fault of the selected server or tool, or all faults made by hand";
    PurgeCache "purge-cache" "purge cache" Servers true "Forget kept answers of servers or tools that match a pattern";
    Fold "fold" "fold" Servers false "Fold or unfold what is under the cursor: a server, a group, a value";
    FoldAll "fold-all" "fold all" Servers true "Fold every server";
    UnfoldAll "unfold-all" "unfold all" Servers true "Unfold every server";

    Fire "fire" "fire" Call true "Send the call with the arguments of the form";
    EditField "edit-field" "type" Call true "Type into the field under the cursor";
    AddItem "add-item" "add" Call true "Add an item to the list under the cursor, or a member to the object";
    RemoveItem "remove-item" "remove" Call true "Remove the item or the added member that the cursor is in";
    MoveItemUp "move-item-up" "move up" Call true "Move the item that the cursor is in up";
    MoveItemDown "move-item-down" "move down" Call true "Move the item that the cursor is in down";
    LeaveOut "leave-out" "leave out" Call true "Empty the field, so that it is not sent";
    SetNull "set-null" "null" Call true "Send null for the field, where it may be";
    SetEmpty "set-empty" "empty text" Call true "Send an empty text, or an object or list with nothing in it";
    ToggleJson "toggle-json" "as JSON" Call true "Edit the arguments as JSON, or in the form again";
    Editor "editor" "$EDITOR" Call true "Edit the arguments in $EDITOR";
    Undo "undo" "undo" Call false "Take the last change of the form or of its JSON back";
    Reset "reset" "clear" Call true "Forget the arguments and start from the defaults";
    LongText "long-text" "long text" Call false "Edit the field's text in many lines";
    FieldEditor "field-editor" "field in $EDITOR" Call true "Edit the field under the cursor in $EDITOR";
    Complete "complete" "take suggestion" Call false "Take the server's suggestion into the field, then the next one";
    Burst "burst" "fire many" Call true "Fire the call many times, several at once";
    Subscribe "subscribe" "subscribe" Call true "Be told when the resource changes, or no longer";
    Cancel "cancel" "cancel call" Call true "Give up the running call";

    NextTab "next-tab" "next tab" Results false "Next view of the result";
    PreviousTab "previous-tab" "previous tab" Results false "Previous view of the result";
    Search "search" "search" Results true "Search in the result";
    NextMatch "next-match" "next match" Results false "To the next match of the search";
    PreviousMatch "previous-match" "match before" Results false "To the match before";
    FoldLevel "fold-level" "fold a level" Results false "Fold one more level everywhere in the value";
    UnfoldLevel "unfold-level" "unfold" Results false "Unfold one more level everywhere in the value";
    JsonPath "json-path" "JSONPath" Results true "Show what a JSONPath (RFC 9535) selects of the result";
    Save "save" "save" Results true "Save the result, an image or sound of it, to a file";
    OpenMedia "open-media" "open outside" Results true "Open an image or sound of the result in another program";
    Refire "refire" "fire again" Results true "Fire the same call again";
    EditAgain "edit-again" "edit, fire again" Results true "Take the call's arguments into the form";
    Follow "follow" "follow" Results true "Keep the newest call in view";
    Sort "sort" "sort" Results true "Sort the traffic by the next column";
    ReverseSort "reverse-sort" "turn order" Results true "Turn the order of the traffic around";
    CompleteFilter "complete-filter" "complete" Results false "Complete the word of the filter";
    ZoomIn "zoom-in" "closer" Results true "Show less time in the timeline, in more detail";
    ZoomOut "zoom-out" "wider" Results true "Show more time in the timeline";
    NextCall "next-call" "next call" Results false "To the next call of the lane";
    PreviousCall "previous-call" "call before" Results false "To the call of the lane before";

    RunWorkflow "run-workflow" "run" Workflows true "Run the workflow; asks for its input first";
    DryRun "dry-run" "dry run" Workflows true "Show every call that the workflow would make with this input, as far as it is known; makes none";
    RunAgain "run-again" "run again" Workflows true "Run the workflow again with the input of the run that is shown";
    RunFrom "run-from" "from here" Workflows true "Run again from the selected step, with the earlier results of those before it";
    ResumeRun "resume-run" "go on" Workflows true "Go on with a run of an earlier session that was interrupted; asks about what is in doubt";
    CancelStep "cancel-step" "cancel step" Workflows true "Give up the selected step; the run goes on as the step's on_error says";
    EditWorkflow "edit-workflow" "edit" Workflows true "Open the workflow's file in $EDITOR; it is read and checked again when saved";
    Mark "mark" "mark" Workflows true "Mark the call under the cursor for a workflow, or no longer";
    SaveWorkflow "save-workflow" "as workflow" Workflows true "Keep the call, the form or the marked calls as a workflow, by name";

    Choose "choose" "choose" Dialogs false "Take what is under the cursor";
    Answer "answer" "answer" Dialogs false "Send the answer";
    Decline "decline" "decline" Dialogs false "Say no";
    Withdraw "withdraw" "neither" Dialogs false "Answer that you did not choose (cancel)";
    AnswerFile "answer-file" "from a file" Dialogs false "Take the answer's text from a file";
    NextQuestion "next-question" "next" Dialogs false "Next question";
    OpenUrl "open-url" "open in browser" Dialogs false "Open the address in the browser";
    CopyUrl "copy-url" "copy address" Dialogs false "Copy the address";
    Yes "yes" "yes" Dialogs false "Yes, this once";
    Always "always" "yes, always" Dialogs false "Yes, and do not ask again for this tool in this session";
    Believe "believe" "believe the server" Dialogs false "Yes, and believe in this session what the server says of its tools: those that it calls harmless are not asked about";
    No "no" "no" Dialogs false "No";
    Approve "approve" "approve" Dialogs false "Approve the project's file as it is now";
    Reject "reject" "leave it" Dialogs false "Start without the project's file";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_back() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(*action));
            assert!(!action.help().is_empty() && !action.label().is_empty());
        }
        assert_eq!(Action::from_name("no such thing"), None);
    }
}
