//! Generated plans, run by an executor that chooses at random what ends next and how.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;

fn node(needs: &[usize]) -> Node {
    Node {
        present: true,
        needs: needs.to_vec(),
        on_error: OnError::Fail,
        else_of: None,
        if_skipped: IfSkipped::Skip,
        undoable: false,
        each: false,
        max_parallel: 1,
        items_go_on: false,
    }
}

/// The predetermined outcome of a step.
#[derive(Clone, Debug)]
struct Fate {
    skipped: bool,
    /// Items of a step with items, and for each leaf whether it fails.
    fails: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<Node>,
    fates: Vec<Fate>,
    max_parallel: usize,
    undo_when_cancelled: bool,
    /// What ends next, as a fraction of what runs.
    choices: Vec<u8>,
    /// After how many ends the run is cancelled, and again during compensation.
    cancel: Option<(u8, u8)>,
    /// Number of ends after which a step is cancelled.
    cancel_step: Option<(u8, u8)>,
}

fn any_node(at: usize) -> impl Strategy<Value = (Node, Fate)> {
    let needs = prop::collection::vec(0..at.max(1), 0..=3);
    let on_error = prop_oneof![Just(OnError::Fail), Just(OnError::Continue), Just(OnError::Compensate)];
    let if_skipped = prop_oneof![4 => Just(IfSkipped::Skip), 1 => Just(IfSkipped::Run)];
    let each = prop_oneof![3 => Just(None), 1 => (0usize..6).prop_map(Some)];
    let fails = prop::collection::vec(prop::bool::weighted(0.12), 6);
    (needs, on_error, if_skipped, any::<bool>(), each, 1usize..4, any::<bool>(), prop::bool::weighted(0.1), fails).prop_map(
        move |(needs, on_error, if_skipped, undoable, each, max_parallel, items_go_on, skipped, mut fails)| {
            let needs = if at == 0 { vec![] } else { needs };
            fails.truncate(each.unwrap_or(1));
            let each = each.is_some();
            let node = Node { present: true, needs, on_error, else_of: None, if_skipped, undoable, each, max_parallel, items_go_on };
            (node, Fate { skipped, fails })
        },
    )
}

fn any_case() -> impl Strategy<Value = Case> {
    let steps = (1usize..14).prop_flat_map(|count| (0..count).map(any_node).collect::<Vec<_>>());
    let cancel = prop::option::weighted(0.25, (0u8..20, 0u8..8));
    let cancel_step = prop::option::weighted(0.25, (0u8..20, any::<u8>()));
    (steps, 1usize..6, any::<bool>(), prop::collection::vec(any::<u8>(), 64), cancel, cancel_step).prop_map(
        |(steps, max_parallel, undo_when_cancelled, choices, cancel, cancel_step)| {
            let (nodes, fates) = steps.into_iter().unzip();
            Case { nodes, fates, max_parallel, undo_when_cancelled, choices, cancel, cancel_step }
        },
    )
}

type Leaf = (usize, Option<u32>);

/// What the executor observed.
#[derive(Default)]
struct Seen {
    decided: BTreeSet<usize>,
    started: BTreeSet<Leaf>,
    completed: Vec<Leaf>,
    undone: Vec<Leaf>,
    ended: BTreeMap<usize, &'static str>,
    cancelled: bool,
    cancelled_twice: bool,
}

/// Runs a case to its end and checks every step.
fn execute(case: &Case) -> Result<(Schedule, Seen), TestCaseError> {
    let mut schedule = Schedule::new(case.nodes.clone(), case.max_parallel, case.undo_when_cancelled);
    let mut seen = Seen::default();
    let mut running: Vec<Leaf> = vec![];
    let mut undoing: Option<Leaf> = None;
    let (mut ends, mut undos) = (0u8, 0u8);
    loop {
        while let Some(task) = schedule.next_task() {
            match task {
                Task::Decide(step) => {
                    prop_assert!(seen.decided.insert(step), "{step} is decided twice");
                    for need in &case.nodes[step].needs {
                        prop_assert!(matches!(schedule.at(*need), At::Ended(_) | At::Skipped), "{step} before {need}");
                    }
                    if case.fates[step].skipped {
                        schedule.skip(step);
                    } else {
                        let items = case.nodes[step].each.then_some(case.fates[step].fails.len() as u32);
                        schedule.begin(step, items);
                    }
                }
                Task::Skipped { step, because } => {
                    prop_assert_eq!((schedule.at(step), schedule.at(because)), (At::Skipped, At::Skipped));
                    prop_assert!(case.nodes[step].needs.contains(&because) && case.nodes[step].if_skipped == IfSkipped::Skip);
                    prop_assert!(!seen.decided.contains(&step));
                }
                Task::Start(step, item) => {
                    prop_assert!(seen.decided.contains(&step) && !seen.cancelled);
                    prop_assert!(seen.started.insert((step, item)), "{step} {item:?} twice");
                    prop_assert_eq!(case.nodes[step].each, item.is_some());
                    running.push((step, item));
                    let own = running.iter().filter(|(other, _)| *other == step).count();
                    prop_assert!(running.len() <= case.max_parallel && own <= case.nodes[step].max_parallel.max(1));
                }
                Task::Undo(step, item) => {
                    prop_assert!(running.is_empty() && undoing.is_none(), "compensating while something runs");
                    prop_assert!(case.nodes[step].undoable);
                    undoing = Some((step, item));
                    seen.undone.push((step, item));
                }
            }
        }
        prop_assert_eq!(schedule.running(), running.len());
        if schedule.is_finished() {
            break;
        }
        if let Some((step, item)) = undoing.take() {
            undos += 1;
            if case.cancel.is_some_and(|(_, second)| seen.cancelled && second == undos) {
                seen.cancelled_twice = true;
                schedule.cancel();
            }
            schedule.compensation_ended(step, item);
            continue;
        }
        prop_assert!(!running.is_empty(), "nothing runs, nothing is left to do, and the run is not finished");
        let choice = usize::from(case.choices[usize::from(ends) % case.choices.len()]) % running.len();
        let (step, item) = running.swap_remove(choice);
        let failed = case.fates[step].fails[item.unwrap_or(0) as usize];
        let end = match (seen.cancelled, failed) {
            // A cancelled step may still have taken effect.
            (true, _) if choice.is_multiple_of(2) => End::Cancelled,
            (_, true) => End::Failed,
            _ => End::Ok,
        };
        if end == End::Ok && case.nodes[step].undoable {
            seen.completed.push((step, item));
        }
        schedule.settle(step, item, end);
        ends = ends.wrapping_add(1);
        if case.cancel.is_some_and(|(first, _)| first == ends) && !seen.cancelled {
            seen.cancelled = true;
            schedule.cancel();
        }
        if let Some((_, step)) = case.cancel_step.filter(|(when, _)| *when == ends) {
            schedule.cancel_step(usize::from(step) % case.nodes.len());
        }
    }
    for step in 0..case.nodes.len() {
        let word = match schedule.at(step) {
            At::Ended(End::Ok) => "ok",
            At::Ended(_) => "failed",
            At::Skipped => "skipped",
            _ => "open",
        };
        seen.ended.insert(step, word);
    }
    prop_assert!(running.is_empty() && undoing.is_none());
    Ok((schedule, seen))
}

#[test]
fn ten_thousand_plans_keep_the_rules() {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let counted = std::cell::Cell::new((0, 0, 0, 0));
    let tried = TestRunner::new(config).run(&any_case(), |case| {
        let (schedule, seen) = execute(&case)?;
        // Compensation covers completed steps from the last one backwards, without a gap.
        let backwards: Vec<Leaf> = seen.completed.iter().rev().copied().collect();
        prop_assert_eq!(&backwards[..seen.undone.len()], &seen.undone[..]);
        if schedule.is_compensating() && !seen.cancelled_twice {
            prop_assert_eq!(seen.undone.len(), seen.completed.len());
        }
        prop_assert_eq!(schedule.pending_compensations().len() + seen.undone.len(), seen.completed.len());
        if schedule.halted().is_none() {
            prop_assert!(seen.ended.values().all(|word| *word != "open"));
            prop_assert!(seen.undone.is_empty());
        }
        let (all, undone, cancelled, halted) = counted.get();
        let halts = usize::from(schedule.halted().is_some());
        let undos = usize::from(seen.undone.len() > 1);
        counted.set((all + 1, undone + undos, cancelled + usize::from(seen.cancelled), halted + halts));
        Ok(())
    });
    tried.unwrap();
    // The generator must cover enough cases.
    let (all, undone, cancelled, halted) = counted.get();
    assert!(all == 10_000 && undone > 300 && cancelled > 300 && halted > 1_000, "{undone} undone, {cancelled} cancelled, {halted} halted");
}

#[test]
fn a_resumed_run_continues_where_it_was_interrupted() {
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&(any_case(), any::<u8>()), |(case, stop)| {
        let case = Case { cancel: None, cancel_step: None, max_parallel: 1, ..case };
        let (whole, seen) = execute(&case)?;
        // The first run stops after this number of ends and leaves a journal.
        let mut first = Schedule::new(case.nodes.clone(), 1, case.undo_when_cancelled);
        let mut journal: Vec<Line> = vec![];
        let mut reported: HashMap<usize, At> = HashMap::new();
        drive(&case, &mut first, &mut journal, &mut reported, usize::from(stop));
        // The second run reads the journal.
        let mut second = Schedule::new(case.nodes.clone(), 1, case.undo_when_cancelled);
        for line in &journal {
            match line {
                Line::Item(step, item, end) => second.restore_item(*step, *item, *end),
                Line::Step(step, at) => second.restore(*step, *at),
                Line::Undone(step, item) => second.restore_compensated(*step, *item),
            }
        }
        let before: BTreeSet<Leaf> = journal.iter().filter_map(Line::leaf).collect();
        let undone_before: Vec<Leaf> = journal.iter().filter_map(Line::undone).collect();
        let mut rest: Vec<Line> = vec![];
        drive(&case, &mut second, &mut rest, &mut reported, usize::MAX);
        prop_assert!(second.is_finished());
        for leaf in rest.iter().filter_map(Line::leaf) {
            prop_assert!(!before.contains(&leaf), "{leaf:?} is repeated");
        }
        let undone: Vec<Leaf> = undone_before.into_iter().chain(rest.iter().filter_map(Line::undone)).collect();
        prop_assert_eq!(&undone, &seen.undone);
        for step in 0..case.nodes.len() {
            prop_assert_eq!(second.at(step), whole.at(step), "step {}", step);
        }
        Ok(())
    });
    tried.unwrap();
}

#[derive(Clone, Debug)]
enum Line {
    Item(usize, u32, End),
    Step(usize, At),
    Undone(usize, Option<u32>),
}

impl Line {
    fn leaf(&self) -> Option<Leaf> {
        match self {
            Line::Item(step, item, _) => Some((*step, Some(*item))),
            Line::Step(step, At::Ended(_)) => Some((*step, None)),
            _ => None,
        }
    }

    fn undone(&self) -> Option<Leaf> {
        match self {
            Line::Undone(step, item) => Some((*step, *item)),
            _ => None,
        }
    }
}

/// Runs one thing at a time and writes a journal as the runner does, for at most `lines` lines.
fn drive(case: &Case, schedule: &mut Schedule, journal: &mut Vec<Line>, reported: &mut HashMap<usize, At>, lines: usize) {
    let mut written = 0;
    let mut tell = |schedule: &Schedule, journal: &mut Vec<Line>| {
        for step in 0..case.nodes.len() {
            let at = schedule.at(step);
            if matches!(at, At::Ended(_) | At::Skipped) && reported.get(&step) != Some(&at) {
                reported.insert(step, at);
                journal.push(Line::Step(step, at));
            }
        }
    };
    while written < lines {
        let Some(task) = schedule.next_task() else { break };
        match task {
            Task::Decide(step) if case.fates[step].skipped => schedule.skip(step),
            Task::Decide(step) => schedule.begin(step, case.nodes[step].each.then_some(case.fates[step].fails.len() as u32)),
            Task::Skipped { .. } => {}
            Task::Start(step, item) => {
                let end = if case.fates[step].fails[item.unwrap_or(0) as usize] { End::Failed } else { End::Ok };
                if let Some(item) = item {
                    journal.push(Line::Item(step, item, end));
                }
                schedule.settle(step, item, end);
            }
            Task::Undo(step, item) => {
                journal.push(Line::Undone(step, item));
                schedule.compensation_ended(step, item);
            }
        }
        tell(schedule, journal);
        written += 1;
    }
}

#[test]
fn independent_steps_run_concurrently_and_a_diamond_waits() {
    let mut schedule = Schedule::new(vec![node(&[]), node(&[]), node(&[0, 1])], 8, false);
    let mut tasks = vec![];
    for _ in 0..2 {
        let Some(Task::Decide(step)) = schedule.next_task() else { panic!() };
        schedule.begin(step, None);
        tasks.push(schedule.next_task());
    }
    assert_eq!(tasks, [Some(Task::Start(0, None)), Some(Task::Start(1, None))]);
    assert_eq!(schedule.next_task(), None);
    schedule.settle(1, None, End::Ok);
    assert_eq!(schedule.next_task(), None);
    schedule.settle(0, None, End::Ok);
    assert_eq!(schedule.next_task(), Some(Task::Decide(2)));
}

#[test]
fn a_failure_with_continue_lets_the_run_continue() {
    let tolerant = Node { on_error: OnError::Continue, ..node(&[]) };
    let mut schedule = Schedule::new(vec![tolerant, node(&[0])], 8, false);
    assert_eq!(schedule.next_task(), Some(Task::Decide(0)));
    schedule.refuse(0);
    assert_eq!((schedule.halted(), schedule.next_task()), (None, Some(Task::Decide(1))));
}

#[test]
fn absent_steps_are_ignored() {
    let absent = |needs: &[usize]| Node { present: false, ..node(needs) };
    let mut schedule = Schedule::new(vec![absent(&[]), node(&[]), absent(&[1])], 8, false);
    schedule.cancel_step(0);
    schedule.restore(2, At::Ended(End::Failed));
    assert_eq!((schedule.next_task(), schedule.next_task()), (Some(Task::Decide(1)), None));
    schedule.begin(1, None);
    assert_eq!(schedule.next_task(), Some(Task::Start(1, None)));
    schedule.settle(1, None, End::Ok);
    assert_eq!(schedule.next_task(), None);
    assert!(schedule.is_finished() && schedule.halted().is_none());
}

#[test]
fn an_else_is_decided_although_its_step_is_skipped() {
    let otherwise = Node { else_of: Some(0), ..node(&[0]) };
    let mut schedule = Schedule::new(vec![node(&[]), otherwise, node(&[0])], 8, false);
    assert_eq!(schedule.next_task(), Some(Task::Decide(0)));
    schedule.skip(0);
    assert_eq!(schedule.next_task(), Some(Task::Skipped { step: 2, because: 0 }));
    assert_eq!(schedule.next_task(), Some(Task::Decide(1)));
}

#[test]
fn rounds_are_added_until_the_last_one() {
    let mut schedule = Schedule::new(vec![Node { each: true, undoable: true, ..node(&[]) }], 8, false);
    assert_eq!(schedule.next_task(), Some(Task::Decide(0)));
    schedule.begin(0, Some(1));
    for round in 0..3 {
        assert_eq!(schedule.next_task(), Some(Task::Start(0, Some(round))));
        assert_eq!(schedule.next_task(), None);
        if round < 2 {
            schedule.add_item(0);
        } else {
            schedule.fail_items(0);
        }
        schedule.settle(0, Some(round), End::Ok);
    }
    assert_eq!((schedule.at(0), schedule.pending_compensations().len()), (At::Ended(End::Failed), 3));
}

#[test]
fn a_thousand_sequential_and_concurrent_steps_are_scheduled_quickly() {
    let row = (0..1_000usize).map(|step| node(&step.checked_sub(1).into_iter().collect::<Vec<_>>()));
    for nodes in [row.collect::<Vec<_>>(), vec![node(&[]); 1_000]] {
        let mut schedule = Schedule::new(nodes, 1, false);
        let mut order = vec![];
        while let Some(task) = schedule.next_task() {
            match task {
                Task::Decide(step) => schedule.begin(step, None),
                Task::Start(step, item) => {
                    order.push(step);
                    schedule.settle(step, item, End::Ok);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(schedule.is_finished());
        assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    }
}
