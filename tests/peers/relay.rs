//! A TCP relay with a fixed port of its own, so that the server behind it can go away and be replaced
//! in no time, however long programs take to start.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Forwards connections to whichever port is behind it now. Dropping it ends it.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    behind: Arc<Mutex<u16>>,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay to the server on port `behind`.
    pub async fn to(behind: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = Arc::new(Mutex::new(behind));
        let task = Some(tokio::spawn(forward(listener, behind.clone())));
        Relay { port, behind, task }
    }

    /// New connections go to `port` from now on.
    pub fn switch(&self, port: u16) {
        *self.behind.lock().unwrap() = port;
    }

    /// Ends all connections and refuses new ones.
    pub async fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Takes connections again, to `port`.
    pub async fn open(&mut self, port: u16) {
        self.switch(port);
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.task = Some(tokio::spawn(forward(listener, self.behind.clone())));
    }
}

async fn forward(listener: TcpListener, behind: Arc<Mutex<u16>>) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let port = *behind.lock().unwrap();
        open.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                // Either end may be killed; then both connections end.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
