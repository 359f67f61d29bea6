//! The real thing: `leadvault` as a process, with a folder of its own that nothing survives in.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use leadvault::proto::intake::v1::intake_service_client::IntakeServiceClient;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines,
    },
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};
use tonic::transport::{Channel, Endpoint};

use super::command::leadvault;

/// How long anything may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(3);

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for: {what}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until a log holds a text; the first line with it.
pub(crate) async fn until_logged(log: &Path, text: &str) -> String {
    until(&format!("the log to say {text:?}"), async || {
        let log = std::fs::read_to_string(log).unwrap();
        let line = log.lines().find(|line| line.contains(text));
        line.map(str::to_owned)
    })
    .await
}

/// A folder that PostgreSQL's account can reach. It is removed, and what runs in it is killed, when this
/// value is dropped or when this process ends, however it ends.
pub(crate) struct Workspace {
    root: PathBuf,
    watchdog: std::process::Child,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leadvault-it-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir(&root).unwrap();
        let watchdog = watch(&root);
        Self { root, watchdog }
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file into it.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Where an embedded PostgreSQL keeps its data.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// The process that PostgreSQL says it runs as in the data folder.
    pub(crate) fn postmaster(&self) -> Option<Pid> {
        let file = self.data_dir().join("cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
    }

    /// `leadvault serve` on this data folder.
    pub(crate) fn serve(&self, port: u16) -> Command {
        let mut command = leadvault(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--data-dir").arg(self.data_dir());
        command
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A process that waits for its pipe to close: a killed process runs no code, but its pipes are closed. It
/// trusts no number in a file unless the process of that number names the folder on its command line.
fn watch(root: &Path) -> std::process::Child {
    const SCRIPT: &str = r#"
        cat > /dev/null
        works_here() {
            { cat "/proc/$1/cmdline" || ps -o args= -p "$1"; } 2> /dev/null | grep -aqF -- "$2"
        }
        end() {
            pid=$(head -n 1 "$2" 2> /dev/null)
            [ -n "$pid" ] && works_here "$pid" "$3" || return 0
            kill "-$1" "$pid" && kill -CONT "$pid"
            for _ in $(seq 200); do
                works_here "$pid" "$3" || return 0
                sleep 0.05
            done
        }
        end KILL "$1/data/leadvault.lock" "$1"
        for pid_file in "$1"/data/cluster/postmaster.pid "$1"/*/postmaster.pid; do
            end QUIT "$pid_file" "$1"
        done
        end KILL "$1/pgbouncer/pgbouncer.pid" "$1"
        rm -rf "$1" || { sleep 1; rm -rf "$1"; }
    "#;
    std::process::Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port that is free, and outside of the range that the system gives to outgoing connections: nobody
/// takes it while a server is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 97).unwrap() * 100;
    loop {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs the binary to its end.
pub(crate) async fn run(args: &[&str]) -> Ran {
    Running::spawn(leadvault(args)).finish().await
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// It ended well: its standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status.code(), Some(0), "{self:#?}");
        self.stdout
    }

    /// It ended badly, with this exit code: what it said about it.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self.stderr
    }

    /// It ended well and said one JSON value.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// A process that runs.
pub(crate) struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: collect(child.stdout.take().unwrap()),
            stderr: collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it has ended");
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn finish(mut self) -> Ran {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        if status.is_err() {
            self.child.kill().await.unwrap();
        }
        let (stdout, stderr) = (self.stdout.await.unwrap(), self.stderr.await.unwrap());
        let status = status.unwrap_or_else(|_| panic!("it never ended: {stdout}\n{stderr}"));
        Ran {
            status: status.unwrap(),
            stdout,
            stderr,
        }
    }
}

/// Asks for a page over plain HTTP; its status, and what it says.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = http_exchange(address, path).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

/// The same with the whole head.
pub(crate) async fn http_exchange(address: SocketAddr, path: &str) -> (String, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn collect(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        // A killed process leaves what it had said.
        let _ = pipe.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A `leadvault serve` that listens.
pub(crate) struct Service {
    child: Child,
    scheme: String,
    address: SocketAddr,
    /// Where its data is: the second line that it says.
    pub(crate) data: String,
    stderr: JoinHandle<String>,
    /// Held open: a server whose output nobody takes could not speak.
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Service {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = collect(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = tokio::time::timeout(PATIENCE, async {
            let first = stdout.next_line().await.unwrap()?;
            Some((first, stdout.next_line().await.unwrap()?))
        })
        .await;
        let Ok(Some((listening, data))) = said else {
            let _ = child.kill().await;
            panic!("the service did not start: {}", stderr.await.unwrap());
        };
        let url = listening.strip_prefix("listening on ").unwrap();
        let (scheme, address) = url.split_once("://").unwrap();
        Self {
            child,
            scheme: scheme.to_owned(),
            address: address.parse().unwrap(),
            data,
            stderr,
            stdout,
        }
    }

    /// Waits until it says a line.
    pub(crate) async fn until_it_says(&mut self, expected: &str) {
        let said = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                if line == expected {
                    return true;
                }
            }
            false
        });
        assert!(said.await.unwrap_or(false), "it never said {expected:?}");
    }

    /// The URL of its embedded database, as it tells it to people.
    pub(crate) fn database_url(&self) -> &str {
        let (_, url) = self.data.split_once("(psql '").unwrap();
        url.trim_end_matches("')")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().try_into().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) async fn intake(&self) -> IntakeServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.endpoint()).unwrap();
        IntakeServiceClient::new(endpoint.connect().await.unwrap())
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM: how it ended, and its log.
    pub(crate) async fn stop(mut self) -> (ExitStatus, String) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it goes on after SIGTERM").unwrap();
        (status, self.stderr.await.unwrap())
    }
}

/// Whether a process runs; one that is dead and not yet buried does not.
pub(crate) fn runs(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_zombie = stat
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'));
    !is_zombie && !matches!(kill(pid, None), Err(nix::errno::Errno::ESRCH))
}

/// Waits until a process is gone: PostgreSQL says that it is stopped shortly before that.
pub(crate) async fn until_dead(pid: Pid) {
    until("the process to be gone", async || {
        (!runs(pid)).then_some(())
    })
    .await;
}
