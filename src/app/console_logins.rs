//! Logins of a console: the login that a key starts, and its end.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    auth::{Auth, Login, Redirect, browser},
    control::{LocalControl, Logins},
    domain::{
        client::Principal,
        event::{Notice, NoticeLevel},
        id::ServerId,
        login::Grant,
        server::ServerSpec,
        workspace::{LoginEnd, LoginStarted},
    },
};

/// The logins of an engine that consoles use.
pub struct ConsoleLogins {
    auth: Auth,
    control: Weak<LocalControl>,
    begun: Arc<Mutex<HashMap<ServerId, Begun>>>,
}

/// The login at a server that began last.
struct Begun {
    state: String,
    pasted: mpsc::Sender<String>,
    /// How it ended; `None` while it waits for its redirect.
    ended: watch::Receiver<Option<LoginEnd>>,
    task: JoinHandle<()>,
}

impl ConsoleLogins {
    /// Creates the logins of an engine.
    pub fn new(auth: Auth, control: &Arc<LocalControl>) -> ConsoleLogins {
        ConsoleLogins { auth, control: Arc::downgrade(control), begun: Arc::default() }
    }

    fn tell(control: &Weak<LocalControl>, level: NoticeLevel, text: String) {
        if let Some(control) = control.upgrade() {
            control.notice(Notice::new(level, text));
        }
    }

    /// Waits for the end of a login in the background.
    fn follow(&self, server: ServerId, login: Login) {
        let (sender, mut pasted) = mpsc::channel(1);
        let (end, ended) = watch::channel(None);
        let (state, control, name) = (login.state().to_owned(), self.control.clone(), server.clone());
        let task = tokio::spawn(async move {
            let done = match login.finish(&mut pasted, &mut |_| {}).await {
                Ok(_) => {
                    Self::tell(&control, NoticeLevel::Info, format!("logged in to {name}"));
                    LoginEnd::LoggedIn
                }
                Err(why) => {
                    Self::tell(&control, NoticeLevel::Warn, format!("login at {name}: {why}"));
                    LoginEnd::Failed(why.to_string())
                }
            };
            end.send_replace(Some(done));
        });
        self.begun.lock().insert(server, Begun { state, pasted: sender, ended, task });
    }

    /// Ends the login at a server that waits for its redirect, so that its port is free for the next.
    async fn cancel(&self, server: &ServerId) {
        let before = self.begun.lock().remove(server);
        if let Some(before) = before {
            before.task.abort();
            // An error means that it was cancelled.
            let _ = before.task.await;
        }
    }
}

#[async_trait]
impl Logins for ConsoleLogins {
    async fn start(&self, spec: &ServerSpec, scopes: &[String]) -> Result<LoginStarted, String> {
        let (who, server) = (Principal::local(), spec.id.clone());
        if spec.auth.grant == Grant::ClientCredentials {
            return Err("this server needs no user: check client_id and client_secret of its configuration, and restart it".into());
        }
        self.cancel(&server).await;
        let login = self.auth.login(spec, &who, scopes, Redirect::Listen).await.map_err(|why| why.to_string())?;
        let address = login.address().to_owned();
        let opened = browser::is_available() && browser::open(&address);
        self.follow(server.clone(), login);
        Ok(LoginStarted { server, address, opened })
    }

    async fn ended(&self, server: &ServerId) -> LoginEnd {
        let ended = self.begun.lock().get(server).map(|login| login.ended.clone());
        let Some(mut ended) = ended else { return LoginEnd::Replaced };
        // The sender is dropped without an end when the next login aborts the task.
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(LoginEnd::Replaced),
            Err(_) => LoginEnd::Replaced,
        }
    }

    async fn finish(&self, server: &ServerId, address: &str) -> Result<(), String> {
        let found = self.begun.lock().get(server).map(|login| (login.state.clone(), login.pasted.clone()));
        let (state, pasted) = found.ok_or_else(|| format!("no login at {server} waits for this address"))?;
        Login::check(address, &state).map_err(|why| format!("this is not the address of the login: {why}"))?;
        pasted.send(address.to_owned()).await.map_err(|_| format!("the login at {server} has ended"))
    }
}
