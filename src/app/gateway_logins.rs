//! Logins that clients of the gateway complete in a browser of this machine.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    auth::{Auth, Redirect},
    control::{Control, LocalControl},
    domain::{client::Principal, id::ServerId, login::Grant},
    gateway::{ClientLogins, StartedLogin},
};

/// The logins of an engine that clients of its gateway use.
pub struct GatewayLogins {
    auth: Auth,
    control: Weak<LocalControl>,
}

impl GatewayLogins {
    /// Creates the logins of an engine.
    pub fn new(auth: Auth, control: &Arc<LocalControl>) -> GatewayLogins {
        GatewayLogins { auth, control: Arc::downgrade(control) }
    }
}

#[async_trait]
impl ClientLogins for GatewayLogins {
    async fn start(&self, server: &ServerId, who: &Principal, scopes: &[String]) -> Result<StartedLogin, String> {
        let control = self.control.upgrade().ok_or("the gateway is stopping")?;
        let spec = control.watch().0.server(server).map(|found| found.spec.clone()).ok_or("it is not configured any more")?;
        if spec.auth.grant == Grant::ClientCredentials {
            return Err("its configuration has client credentials, which it refuses".into());
        }
        let login = self.auth.login(&spec, who, scopes, Redirect::Listen).await.map_err(|why| why.to_string())?;
        let address = login.address().to_owned();
        let end = async move {
            // Nobody pastes an address.
            let (_typed, mut pasted) = mpsc::channel(1);
            login.finish(&mut pasted, &mut |_| {}).await.map(drop).map_err(|why| why.to_string())
        };
        Ok(StartedLogin { address, end: Box::pin(end) })
    }
}
