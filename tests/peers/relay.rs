//! A TCP relay with a fixed port of its own, so that the server behind it can be replaced in no time.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Forwards connections to whichever port is behind it now. Dropping it ends it.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    behind: Arc<Mutex<u16>>,
    task: AbortHandle,
}

impl Relay {
    /// A relay to the server on port `behind`.
    pub async fn to(behind: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = Arc::new(Mutex::new(behind));
        let target = behind.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let port = *target.lock().unwrap();
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                        // Either end may be killed; then both connections end.
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Relay { port, behind, task: task.abort_handle() }
    }

    /// New connections go to `port` from now on.
    pub fn switch(&self, port: u16) {
        *self.behind.lock().unwrap() = port;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
