//! The demo as a whole: its folder, the HTTP server's process, the specifications of all servers.
//! Used by the composition root.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::process::{Child, Command};

use super::{DemoError, NAMES, STANDBY, process::LISTENER_VARIABLE};
use crate::domain::{
    body::Body,
    policy::{
        CacheMode, Fallback, PolicyPatch, PolicySetting, ToolRule,
        pattern::Pattern,
        route::{Group, Member, Route, Routing, Strategy},
    },
    secret::Secret,
    server::{EraChoice, ServerSpec, Timeouts, Transport},
};

/// Time for the HTTP server to exit on its own.
const PATIENCE: Duration = Duration::from_secs(2);

/// The running demo. Dropping it ends the HTTP server and removes the folder.
///
/// The stdio servers are started and ended by the engine, so end the engine first.
pub struct Demo {
    program: String,
    address: SocketAddr,
    /// Listens from the start, so that early clients wait instead of being refused.
    listener: Option<TcpListener>,
    /// Declared before the folder: the process is gone when the folder goes.
    child: Option<Child>,
    folder: Folder,
}

impl Demo {
    /// Makes the folder and reserves the HTTP server's port. Takes no time and needs no runtime:
    /// [`Demo::specs`] is right from now on.
    pub fn prepare() -> Result<Demo, DemoError> {
        let program = std::env::current_exe().map_err(DemoError::io("find its own program"))?;
        Demo::prepare_with(program)
    }

    fn prepare_with(program: PathBuf) -> Result<Demo, DemoError> {
        let program = program.into_os_string().into_string().map_err(|path| DemoError::ProgramPath { path: path.into() })?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(DemoError::io("listen on 127.0.0.1"))?;
        let address = listener.local_addr().map_err(DemoError::io("listen on 127.0.0.1"))?;
        Ok(Demo { program, address, listener: Some(listener), child: None, folder: Folder::make(&std::env::temp_dir())? })
    }

    /// Starts the HTTP server's process, once. Needs a tokio runtime; does not wait for the server, whose
    /// socket takes connections already.
    pub fn launch(&mut self) -> Result<(), DemoError> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let log = File::create(self.dir().join("analytics.log")).map_err(DemoError::io("make a log file"))?;
        let child = Command::new(&self.program)
            .args(["demo-server", "analytics", "--dir"])
            .arg(self.dir())
            .env(LISTENER_VARIABLE, "stdout")
            // Open as long as we live: its end tells the child that we are gone, however we went.
            .stdin(Stdio::piped())
            // Our copy is closed with the command. Otherwise a dead server would look like a slow one.
            .stdout(Stdio::from(OwnedFd::from(listener)))
            .stderr(log)
            // Ctrl-C in the terminal is for us alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(DemoError::io(format!("start {}", self.program)))?;
        self.child = Some(child);
        Ok(())
    }

    /// [`Demo::prepare`] and [`Demo::launch`] in one. Needs a tokio runtime.
    pub async fn start() -> Result<Demo, DemoError> {
        let mut demo = Demo::prepare()?;
        demo.launch()?;
        Ok(demo)
    }

    /// The folder with the shared state, and the log of the HTTP server.
    pub fn dir(&self) -> &Path {
        &self.folder.path
    }

    /// The specifications of all demo servers, in the order of [`NAMES`], and of [`STANDBY`].
    pub fn specs(&self) -> Vec<ServerSpec> {
        NAMES.into_iter().chain([STANDBY]).map(|name| self.spec(name)).collect()
    }

    /// Returns the group of `flaky` and its replica, whose calls survive the failures of `flaky`, and a route: only `flaky`
    /// fails on demand, so the tool that makes it fail leads there.
    pub fn routing() -> Routing {
        let member = |server: &str| Member { server: server.into(), weight: 1 };
        let group = Group {
            id: "payments".into(),
            namespace: None,
            members: vec![member("flaky"), member(STANDBY)],
            strategy: Strategy::Primary,
            members_listed: true,
        };
        let matches = Pattern::from(Arc::<str>::from("payments_configure"));
        let route = Route { matches, only: Some(vec![group.id.clone()]), to: "flaky".into() };
        Routing { groups: vec![group], routes: vec![route] }
    }

    /// Returns the rules for the demo's tools: the fallbacks of `flaky`.
    pub fn rules() -> Vec<ToolRule> {
        let rule = |name: &str| ToolRule { matches: Pattern::from(Arc::<str>::from(name)), ..ToolRule::default() };
        let record = json!({"amount": "{{ arguments.amount }}", "reason": "the payment server failed; look whether it is booked"});
        let noted = json!({"table": "unconfirmed_charges", "record": record});
        vec![
            // A charge is never retried; it is recorded for a manual check.
            ToolRule {
                fallback: vec![Fallback::Tool { tool: "database_insert_record".into(), arguments: Some(Body::json(&noted)) }],
                ..rule("flaky_charge")
            },
            // Rates change slowly: a stale one is better than none.
            ToolRule {
                patch: PolicyPatch {
                    set: vec![
                        Arc::new(PolicySetting::CacheMode(CacheMode::ReadOnly)),
                        Arc::new(PolicySetting::CacheTtl(Duration::from_secs(1))),
                        Arc::new(PolicySetting::CacheStaleIfError(Duration::from_secs(600))),
                    ],
                },
                ..rule("flaky_quote")
            },
        ]
    }

    fn spec(&self, name: &str) -> ServerSpec {
        let launch = match name {
            "analytics" => Transport::Http { url: format!("http://{}/mcp", self.address), headers: vec![], socket: None },
            _ => Transport::Stdio {
                command: self.program.clone(),
                args: ["demo-server", if name == STANDBY { "flaky" } else { name }, "--dir", &self.dir().to_string_lossy()]
                    .map(Secret::literal)
                    .to_vec(),
                env: vec![],
                inherit_env: false,
                cwd: None,
            },
        };
        let mut spec = ServerSpec::new(name, launch);
        spec.description = Some(
            match name {
                "database" => "Users and records of the demo shop",
                "email" => "Messages, with progress and a form",
                "analytics" => "Events and slow reports, over HTTP",
                "preferences" => "Settings, and a summary by sampling",
                STANDBY => "A replica of the payments",
                _ => "Payments that fail on demand",
            }
            .into(),
        );
        // Our own servers' annotations are true.
        spec.trusted = true;
        match name {
            "flaky" => {
                spec.timeouts = Timeouts { call: Duration::from_secs(10), ..Timeouts::default() };
                // Short times, so that opening, probing and closing are visible.
                let breaker = &mut spec.policy.breaker;
                (breaker.consecutive, breaker.open_for, breaker.open_for_max) = (3, Duration::from_secs(5), Duration::from_secs(20));
                spec.policy.attempt = Some(Duration::from_secs(3));
            }
            STANDBY => {}
            _ => spec.group = Some("shop".into()),
        }
        if name == "preferences" {
            // To demonstrate both eras, and sampling as a server request.
            spec.era = EraChoice::Legacy;
        }
        spec
    }

    /// Ends the HTTP server in order and removes the folder. End the engine first.
    pub async fn stop(mut self) {
        let Some(mut child) = self.child.take() else { return };
        drop(child.stdin.take());
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            // It did not listen; there is nothing more to do if it cannot be killed either.
            let _ = child.kill().await;
        }
    }
}

/// What the names of such folders begin with.
const PREFIX: &str = "switchboard-demo-";

/// Removes a demo's folder in place of an owner that was killed. Leaves every other folder alone.
///
/// Servers that are about to end may still write to it, so it is tried again for a moment.
pub(super) fn remove_orphan(dir: &Path) {
    if !dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
        return;
    }
    let end = Instant::now() + PATIENCE;
    while std::fs::remove_dir_all(dir).is_err_and(|error| error.kind() != ErrorKind::NotFound) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A private folder that goes away with its owner.
struct Folder {
    path: PathBuf,
    /// Locked as long as the owner lives.
    _lock: File,
}

impl Folder {
    /// Makes a folder under `parent` that only this user can enter.
    fn make(parent: &Path) -> Result<Folder, DemoError> {
        // The path is on the servers' command lines.
        if parent.to_str().is_none() {
            return Err(DemoError::NoFolder { path: parent.to_owned() });
        }
        sweep(parent);
        loop {
            let path = parent.join(format!("{PREFIX}{}-{:06x}", std::process::id(), fastrand::u32(..1 << 24)));
            match DirBuilder::new().mode(0o700).create(&path) {
                // Unlocked for a moment: another demo that begins may have taken it for an orphan.
                Ok(()) => match File::open(&path) {
                    Ok(folder) if matches!(folder.try_lock(), Err(TryLockError::WouldBlock)) => {}
                    // Where nothing can be locked, nothing is swept either.
                    Ok(folder) => return Ok(Folder { path, _lock: folder }),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(DemoError::io(format!("open the folder {}", path.display()))(error)),
                },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DemoError::io(format!("make the folder {}", path.display()))(error)),
            }
        }
    }
}

/// Removes the folders of demos that were killed with all their processes. The lock tells, not the number
/// of the process: that may mean another one by now, or one in another container.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw());
        let Some(folder) = File::open(entry.path()).ok().filter(|_| ours) else { continue };
        if folder.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The remains are small and in the temporary folder; errors are ignored.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::catalog::Catalog, *};

    #[test]
    fn the_folder_is_private_and_removed() {
        let demo = Demo::prepare().unwrap();
        let dir = demo.dir().to_owned();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(Demo::prepare().unwrap().dir(), dir);
        drop(demo);
        assert!(!dir.exists());
    }

    #[test]
    fn folders_of_killed_demos_are_swept_and_those_of_living_ones_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folder::make(parent.path()).unwrap();
        let [orphan, other] = ["switchboard-demo-1-00000a", "switchboard-else"].map(|name| parent.path().join(name));
        for folder in [&orphan, &other] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("demo.sqlite"), "x").unwrap();
        }
        let next = Folder::make(parent.path()).unwrap();
        assert!(!orphan.exists() && other.exists() && living.path.exists() && next.path.exists());
        remove_orphan(&other);
        assert!(other.exists(), "no demo's folder");
        remove_orphan(&living.path);
        assert!(!living.path.exists());
    }

    #[test]
    fn the_rules_name_tools_of_the_demo_and_templates_that_fit() {
        let texts =
            [("database", include_str!("../../assets/demo/database.json")), ("flaky", include_str!("../../assets/demo/flaky.json"))];
        let tools: Vec<String> = texts
            .into_iter()
            .flat_map(|(name, text)| Catalog::parse(name, text).unwrap().tools.into_iter().map(move |e| format!("{name}_{}", e.tool.name)))
            .collect();
        let listed = |exposed: &str| tools.iter().any(|tool| tool == exposed);
        for rule in Demo::rules() {
            assert!(listed(rule.matches.text()), "{:?}", rule.matches);
            for fallback in rule.fallback {
                let Fallback::Tool { tool, arguments } = fallback else { continue };
                let filled = crate::domain::policy::mapping::fill(&arguments.unwrap(), &json!({"amount": 1.5})).unwrap();
                assert!(listed(&tool) && filled.text().contains("1.5"), "{tool} {filled:?}");
            }
        }
    }

    #[test]
    fn the_group_and_the_route_name_servers_and_a_tool_of_the_demo() {
        let demo = Demo::prepare().unwrap();
        let specs = demo.specs();
        let Routing { groups, routes } = Demo::routing();
        let is_server = |id: &crate::domain::id::ServerId| specs.iter().any(|spec| spec.id == *id);
        assert!(groups.iter().flat_map(|group| &group.members).all(|member| is_server(&member.server)));
        let flaky = Catalog::parse("flaky", include_str!("../../assets/demo/flaky.json")).unwrap();
        let tools: Vec<String> = flaky.tools.iter().map(|entry| format!("payments_{}", entry.tool.name)).collect();
        assert!(routes.iter().all(|route| is_server(&route.to) && tools.iter().any(|tool| route.matches.matches(tool))), "{tools:?}");
    }

    #[test]
    fn the_specs_name_this_program_and_the_port_that_listens() {
        let demo = Demo::prepare().unwrap();
        let specs = demo.specs();
        assert_eq!(specs.iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), [&NAMES[..], &[STANDBY]].concat());
        let Transport::Http { url, .. } = &specs[2].launch else { panic!("analytics is not over HTTP") };
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap();
        std::net::TcpStream::connect(address).unwrap();
        let Transport::Stdio { command, args, .. } = &specs[0].launch else { panic!("database is not over stdio") };
        assert!(Path::new(command).is_absolute());
        assert_eq!(args.iter().map(Secret::expose).collect::<Vec<_>>(), ["demo-server", "database", "--dir", demo.dir().to_str().unwrap()]);
        assert_eq!((specs[0].group.as_deref(), specs[4].group.as_deref()), (Some("shop"), None));
    }

    #[tokio::test]
    async fn a_missing_program_is_reported() {
        let mut demo = Demo::prepare_with("/nonexistent/switchboard".into()).unwrap();
        let error = demo.launch().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/switchboard"), "{error}");
        demo.stop().await;
    }
}
