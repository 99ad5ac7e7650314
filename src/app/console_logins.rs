//! Logins of a console: the login that a key starts, and its end.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    auth::{Auth, Login, Redirect, browser},
    control::{Control, LocalControl, Logins},
    domain::{
        client::Principal,
        event::{Notice, NoticeLevel},
        id::ServerId,
        login::Grant,
        server::ServerSpec,
        workspace::LoginStarted,
    },
};

/// The logins of an engine that consoles use.
pub struct ConsoleLogins {
    auth: Auth,
    control: Weak<LocalControl>,
    waiting: Arc<Mutex<HashMap<ServerId, Waiting>>>,
}

/// A login that waits for its redirect.
struct Waiting {
    /// Counts the logins, so that the end of one does not remove the next.
    number: u64,
    state: String,
    pasted: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl ConsoleLogins {
    /// Creates the logins of an engine.
    pub fn new(auth: Auth, control: &Arc<LocalControl>) -> ConsoleLogins {
        ConsoleLogins { auth, control: Arc::downgrade(control), waiting: Arc::default() }
    }

    fn tell(control: &Weak<LocalControl>, level: NoticeLevel, text: String) {
        if let Some(control) = control.upgrade() {
            control.notice(Notice::new(level, text));
        }
    }

    /// Waits for the end of a login in the background.
    fn follow(&self, server: ServerId, login: Login) {
        let (sender, mut pasted) = mpsc::channel(1);
        let state = login.state().to_owned();
        let (control, waiting) = (self.control.clone(), self.waiting.clone());
        // Locked until the entry exists, which the task removes at its end.
        let mut entries = self.waiting.lock();
        let number = entries.get(&server).map_or(0, |before| before.number) + 1;
        let name = server.clone();
        let task = tokio::spawn(async move {
            let done = login.finish(&mut pasted, &mut |_| {}).await;
            {
                let mut waiting = waiting.lock();
                if waiting.get(&server).is_some_and(|now| now.number == number) {
                    waiting.remove(&server);
                }
            }
            match done {
                Ok(_) => Self::tell(&control, NoticeLevel::Info, format!("logged in to {server}")),
                Err(why) => Self::tell(&control, NoticeLevel::Warn, format!("login at {server}: {why}")),
            }
        });
        entries.insert(name, Waiting { number, state, pasted: sender, task });
    }

    /// Ends the login at a server that waits for its redirect, so that its port is free for the next.
    async fn cancel(&self, server: &ServerId) {
        let before = self.waiting.lock().remove(server);
        if let Some(before) = before {
            before.task.abort();
            // An error means that it was cancelled.
            let _ = before.task.await;
        }
    }
}

#[async_trait]
impl Logins for ConsoleLogins {
    async fn start(&self, spec: &ServerSpec) -> Result<LoginStarted, String> {
        let (who, server) = (Principal::local(), spec.id.clone());
        let scopes = {
            let control = self.control.upgrade();
            let state = control.map(|control| control.watch().0);
            let wanted = state.and_then(|state| Some(state.server(&server)?.phase.failure()?.login.clone()?.scopes));
            wanted.unwrap_or_default()
        };
        if spec.auth.grant == Grant::ClientCredentials {
            return Err("this server needs no user: check client_id and client_secret of its configuration, and restart it".into());
        }
        self.cancel(&server).await;
        let login = self.auth.login(spec, &who, &scopes, Redirect::Listen).await.map_err(|why| why.to_string())?;
        let address = login.address().to_owned();
        let opened = browser::is_available() && browser::open(&address);
        self.follow(server.clone(), login);
        Ok(LoginStarted { server, address, opened })
    }

    async fn finish(&self, server: &ServerId, address: &str) -> Result<(), String> {
        let found = self.waiting.lock().get(server).map(|waiting| (waiting.state.clone(), waiting.pasted.clone()));
        let (state, pasted) = found.ok_or_else(|| format!("no login at {server} waits for this address"))?;
        Login::check(address, &state).map_err(|why| format!("this is not the address of the login: {why}"))?;
        pasted.send(address.to_owned()).await.map_err(|_| format!("the login at {server} has ended"))
    }
}
