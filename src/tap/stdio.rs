//! The tap of a server's process: three pumps between our standard streams and those of the process.
//!
//! The pumps are threads that read and write blocking, without a runtime in between. The process gets our environment and working
//! directory, is in our process group, and its end becomes ours.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use super::queue::{Lane, Queue, Stream};

/// The size of the buffer of a pump, in bytes.
const BUFFER: usize = 64 << 10;

/// Our own ends of the connection.
pub struct Ends {
    /// What the client sends.
    pub input: File,
    /// Where the client reads.
    pub output: File,
    /// Where the stderr of the server goes.
    pub stderr: File,
}

impl Ends {
    /// Takes the standard streams of this process: from now on nothing else reads or writes stdin and stdout.
    pub fn of_process() -> io::Result<Ends> {
        let file = |fd: io::Result<OwnedFd>| fd.map(File::from);
        let ends = Ends {
            input: file(io::stdin().as_fd().try_clone_to_owned())?,
            output: file(io::stdout().as_fd().try_clone_to_owned())?,
            stderr: file(io::stderr().as_fd().try_clone_to_owned())?,
        };
        // Dropping an end closes it for the client.
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(ends)
    }
}

/// A tapped process.
pub struct Tapped {
    child: Child,
    /// The pumps of what the server writes.
    pumps: Vec<JoinHandle<()>>,
}

impl Tapped {
    /// Starts a command and its pumps.
    pub fn start(command: &str, args: &[String], ends: Ends, queue: &Queue) -> io::Result<Tapped> {
        let mut child = Command::new(command).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let missing = || io::Error::other("the process has no pipes");
        let (stdin, stdout, stderr) =
            (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?, child.stderr.take().ok_or_else(missing)?);
        let lane = |stream| Lane { connection: 0, stream };
        let start = |name: &str, pump: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(pump);
        let of = |queue: &Queue| queue.clone();
        let (inner, outer, err) = (of(queue), of(queue), of(queue));
        // This one ends with the client, which may outlive the server.
        start("tap-stdin", Box::new(move || pump(ends.input, stdin, &inner, lane(Stream::ToServer))))?;
        let pumps = vec![
            start("tap-stdout", Box::new(move || pump(stdout, ends.output, &outer, lane(Stream::ToClient))))?,
            start("tap-stderr", Box::new(move || pump(stderr, ends.stderr, &err, lane(Stream::Stderr))))?,
        ];
        Ok(Tapped { child, pumps })
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended and everything that it wrote was passed on. Blocks.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        for pump in self.pumps {
            // A pump does not panic.
            let _ = pump.join();
        }
        status
    }
}

/// Passes bytes on until the end of the input, or until nobody reads the output. Both are closed then.
pub fn pump(mut from: impl Read, mut to: impl Write, queue: &Queue, lane: Lane) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let Some(run) = buffer.get(..count) else { break };
        // The observer comes second.
        if to.write_all(run).and_then(|()| to.flush()).is_err() {
            break;
        }
        queue.offer(lane, run);
    }
    queue.end(lane);
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::tap::queue::Observed;

    /// Reads a text in runs of random sizes, with interruptions.
    struct Choppy<'t>(&'t [u8], fastrand::Rng);

    impl Read for Choppy<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1.u8(..) < 8 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.1.usize(1..=97).min(self.0.len()).min(buffer.len());
            let (run, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(run);
            self.0 = rest;
            Ok(count)
        }
    }

    /// Accepts a part of each write.
    struct Narrow<'o>(&'o mut Vec<u8>, fastrand::Rng);

    impl Write for Narrow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.1.usize(1..=31).min(bytes.len());
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Messages, their pieces, and whatever else a server may write.
    fn text(random: &mut fastrand::Rng) -> Vec<u8> {
        const PIECES: [&[u8]; 8] =
            [b"{\"jsonrpc\":\"2.0\",\"id\":1}\n", b"\r\n", b"\n\n", b"\0", b"\xff\xfe", b"{\"a\":\"\xe2\x82", b"plain", b"\xef\xbb\xbf"];
        let mut text = vec![];
        for _ in 0..random.usize(0..40) {
            match random.usize(0..10) {
                piece @ 0..8 => text.extend_from_slice(PIECES[piece]),
                8 => text.extend((0..random.usize(0..300)).map(|_| random.u8(..))),
                _ => text.extend(vec![b'x'; random.usize(0..2000)]),
            }
        }
        text
    }

    #[tokio::test]
    async fn ten_thousand_streams_pass_byte_for_byte_in_any_chunking() {
        let lane = Lane { connection: 0, stream: Stream::ToServer };
        for seed in 0..10_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (text, queue, mut passed) = (text(&mut random), Queue::default(), vec![]);
            pump(Choppy(&text, random.fork()), Narrow(&mut passed, random.fork()), &queue, lane);
            assert_eq!(Sha256::digest(&passed), Sha256::digest(&text), "seed {seed}");
            queue.close();
            let mut copied = vec![];
            while let Some((_, observed, _)) = queue.next().await {
                if let Observed::Run(run) = observed {
                    copied.extend_from_slice(&run);
                }
            }
            assert_eq!(copied, text, "the copy, seed {seed}");
        }
    }

    /// A scaled form of 1 GB with a stopped observer.
    #[test]
    fn a_stopped_observer_delays_nothing_and_holds_a_bounded_part() {
        struct Zeros(u64);
        impl Read for Zeros {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = (buffer.len() as u64).min(self.0);
                self.0 -= count;
                Ok(usize::try_from(count).expect("at most the buffer"))
            }
        }
        struct Counter<'c>(&'c mut u64);
        impl Write for Counter<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                *self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        const TOTAL: u64 = 64 << 20;
        let (queue, mut passed) = (Queue::default(), 0);
        pump(Zeros(TOTAL), Counter(&mut passed), &queue, Lane { connection: 0, stream: Stream::ToClient });
        assert_eq!(passed, TOTAL);
        assert!(queue.len() <= 4 << 20, "{}", queue.len());
        assert_eq!(queue.lost() + queue.len() as u64, TOTAL);
    }
}
