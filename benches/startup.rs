//! How soon the console is there, and what it costs while nothing happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

mod support;

use std::time::Duration;

use support::{
    pipe::Pipe,
    process,
    report::{self, Of, Series},
    server,
    terminal::{FRAME_END, Terminal, configuration, console, switchboard},
};

const ROUNDS: usize = 15;

fn main() {
    if server::ran() {
        return;
    }
    let plain = |count: usize| -> Vec<(String, Vec<String>)> { (0..count).map(|n| (format!("s{n}"), server::words("plain"))).collect() };
    let (_one, one) = configuration(&plain(1));
    let (_four, four) = configuration(&plain(4));
    let (_twenty, twenty) = configuration(&plain(20));
    let (_silent, silent) = configuration(&[("mute".into(), server::words("silent"))]);
    let demo =
        |more: &[&str]| -> Vec<String> { [&switchboard(), "demo"].into_iter().chain(more.iter().copied()).map(str::to_owned).collect() };

    let (mut echo, mut version, mut bare_plain, mut bare_demo) = (vec![], vec![], vec![], vec![]);
    let mut scenes = [
        Scene::new("the demo (4 stdio servers, 1 HTTP)", demo(&[]), Some("create_user")),
        Scene::new("the demo's database alone", demo(&["--server", "database"]), Some("create_user")),
        Scene::new("1 small server", console(&one), Some("parrot")),
        Scene::new("4 small servers", console(&four), Some("parrot")),
        Scene::new("20 small servers", console(&twenty), Some("parrot")),
        Scene::new("a server that never answers", console(&silent), None),
    ];
    for _ in 0..ROUNDS {
        echo.push(word_in_terminal(&["/bin/echo".into(), "hello".into()], "hello"));
        version.push(word_in_terminal(&[switchboard(), "--version".into()], "switchboard "));
        bare_plain.push(Pipe::start(&server::words("plain")).1);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let words = [switchboard(), "demo-server".into(), "database".into(), "--dir".into(), folder.path().display().to_string()];
        bare_demo.push(Pipe::start(&words).1);
        scenes.iter_mut().for_each(Scene::play);
    }
    let (echo, version) = (Series::of(&echo), Series::of(&version));
    let (bare_plain, bare_demo) = (Series::of(&bare_plain), Series::of(&bare_demo));

    report::heading("startup: from spawn to the first frame");
    report::line("/bin/echo in a terminal", "ms", &echo).print();
    report::line("switchboard --version in a terminal", "ms", &version).against("echo", echo.median()).print();
    for scene in &scenes {
        report::line(scene.name, "ms", &Series::of(&scene.frames)).promise(Of::Median, 30.0).against("echo", echo.median()).print();
    }
    report::heading("startup: from spawn to the first tools on the screen");
    report::line("small server by a raw pipe, to its list", "ms", &bare_plain).print();
    report::line("the demo's database by a raw pipe, to its list", "ms", &bare_demo).print();
    for scene in scenes.iter().filter(|scene| scene.tool.is_some()) {
        let bare = if scene.name.contains("demo") { &bare_demo } else { &bare_plain };
        let all = Series::of(&scene.tools);
        report::line(scene.name, "ms", &all).promise(Of::Median, 100.0 + bare.median()).against("the pipe", bare.median()).print();
    }

    report::heading("idle: memory and work of the console's own process");
    idle("4 small stdio servers", &console(&four), "parrot");
    idle(
        "the demo's 4 stdio servers",
        &demo(&["--server", "database", "--server", "email", "--server", "preferences", "--server", "flaky"]),
        "create_user",
    );
    let (_none, none) = configuration(&[]);
    idle("no server at all", &console(&none), FRAME_END);
}

struct Scene {
    name: &'static str,
    words: Vec<String>,
    tool: Option<&'static str>,
    frames: Vec<Duration>,
    tools: Vec<Duration>,
}

impl Scene {
    fn new(name: &'static str, words: Vec<String>, tool: Option<&'static str>) -> Scene {
        Scene { name, words, tool, frames: vec![], tools: vec![] }
    }

    fn play(&mut self) {
        let mut terminal = Terminal::start(&self.words);
        let frame = terminal.when(FRAME_END, 0);
        self.frames.push(frame - terminal.began());
        if let Some(tool) = self.tool {
            let seen = terminal.when(tool, 0);
            self.tools.push(seen - terminal.began());
        }
        terminal.quit();
    }
}

fn word_in_terminal(words: &[String], word: &str) -> Duration {
    let mut terminal = Terminal::start(words);
    let took = terminal.when(word, 0) - terminal.began();
    terminal.wait();
    took
}

fn idle(name: &str, words: &[String], sign: &str) {
    let mut terminal = Terminal::start(words);
    terminal.when(sign, 0);
    let pid = terminal.pid();
    process::idle(pid);
    let memory = process::memory(pid);
    let work = process::work_during(pid, Duration::from_secs(5));
    report::line(&format!("{name}: private memory (USS)"), "MB", &Series::new([memory.private])).promise(Of::Median, 12.0).print();
    report::note(&format!("heap and stacks {:.2} MB, resident with shared pages {:.2} MB", memory.anonymous, memory.resident));
    report::line(&format!("{name}: CPU in 5 idle seconds"), "ticks", &Series::new([work.ticks as f64])).promise(Of::Median, 0.0).print();
    report::note(&format!("{:.3} ms on a processor, {} voluntary context switches", work.cpu.as_secs_f64() * 1e3, work.naps));
    terminal.quit();
}
