// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A helper process of the run: its output is logged as it comes, its death is noticed, its end is in order.

use crate::process;
use crate::status::Failure;
use crate::timeline::{Lines, Log, Timeline, Written};
use crate::watch::Watch;
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines kept of each log, to be shown when something went wrong.
const TAIL: usize = 40;

/// The last lines of a log.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// Where an output stream goes: a log of its own, byte by byte, and the timeline, line by line.
pub struct Sink {
    /// The source's name in the timeline.
    pub source: String,
    /// The log.
    pub file: Log,
    path: PathBuf,
    /// The merged log.
    pub timeline: Arc<Timeline>,
    /// Its last lines.
    pub tail: Tail,
    /// Called with each line.
    pub on_line: Box<dyn FnMut(&str) + Send>,
}

impl Sink {
    /// A sink into a new file.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(source: &str, path: &Path, timeline: &Arc<Timeline>) -> Result<Sink, Failure> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| {
                Failure::harness(format!("cannot write {}", path.display())).caused_by(error)
            })?;
        Ok(Sink {
            source: source.to_owned(),
            file: Log::new(file, Log::LIMIT),
            path: path.to_owned(),
            timeline: timeline.clone(),
            tail: Tail::default(),
            on_line: Box::new(|_| ()),
        })
    }

    /// Copies `stream` until it ends, on a thread of its own. A log that cannot be written fails the run.
    fn follow(
        mut self,
        mut stream: impl Read + Send + 'static,
        watch: Arc<Watch>,
    ) -> io::Result<()> {
        std::thread::Builder::new()
            .name(format!("log {}", self.source))
            .spawn(move || {
                let mut lines = Lines::default();
                let mut buffer = [0; 8192];
                loop {
                    let length = match stream.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(length) => length,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(_) => break,
                    };
                    if let Written::Failed(error) = self.file.write(&buffer[..length]) {
                        watch.fail(unwritable(&self.path).caused_by(error));
                    }
                    let Sink {
                        source,
                        timeline,
                        tail,
                        on_line,
                        ..
                    } = &mut self;
                    lines.push(&buffer[..length], |line| {
                        timeline.line(source, line);
                        tail.push(line);
                        on_line(line);
                    });
                }
                lines.finish(|line| {
                    self.timeline.line(&self.source, line);
                    self.tail.push(line);
                });
                self.file.close(self.tail.lines());
            })?;
        Ok(())
    }
}

/// The failure of a run whose evidence is lost.
pub fn unwritable(path: &Path) -> Failure {
    Failure::harness(format!("cannot write {}", path.display()))
        .with_hint("its disk may be full; --runs names another place")
}

/// A running helper.
pub struct Service {
    /// What messages call it.
    pub name: String,
    pid: Pid,
    ended: Arc<(Mutex<Option<ExitStatus>>, Condvar)>,
}

impl Service {
    /// Starts it. When it ends while the run goes on, the run has failed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        name: &str,
        mut command: Command,
        stdout: Option<Sink>,
        stderr: Sink,
        watch: &Arc<Watch>,
    ) -> Result<Service, Failure> {
        let cannot = |error: io::Error| {
            Failure::harness(format!("{name} cannot be started")).caused_by(error)
        };
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if stdout.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = process::spawn(command).map_err(cannot)?;
        let pid = Pid::from_raw(child.id() as i32);
        let ended = Arc::new((Mutex::new(None), Condvar::new()));
        let service = Service {
            name: name.to_owned(),
            pid,
            ended: ended.clone(),
        };
        let tail = stderr.tail.clone();
        if let (Some(sink), Some(stream)) = (stdout, child.stdout.take()) {
            sink.follow(stream, watch.clone()).map_err(cannot)?;
        }
        if let Some(stream) = child.stderr.take() {
            stderr.follow(stream, watch.clone()).map_err(cannot)?;
        }
        let (watch, name) = (watch.clone(), name.to_owned());
        let wait = move || {
            // Reaped under the lock, so that nobody signals a pid that is someone else's by then.
            while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
                == Err(nix::errno::Errno::EINTR)
            {}
            {
                let mut status = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
                *status = Some(child.wait().unwrap_or_default());
                ended.1.notify_all();
            }
            if watch.over() {
                return;
            }
            // What it said last may still be on its way; and QEMU aborts when the device dies: blame the device.
            let aborted = { *ended.0.lock().unwrap_or_else(PoisonError::into_inner) }
                .is_some_and(|status| Exit::of_child(status) == Exit::Signal(libc::SIGABRT));
            watch.pause(Duration::from_millis(if aborted { 400 } else { 50 }));
            let how = { *ended.0.lock().unwrap_or_else(PoisonError::into_inner) }
                .map_or_else(String::new, |status| status.to_string());
            let failure = Failure::harness(format!("{name} ended unexpectedly ({how})"));
            watch.fail(failure.with_tail(tail.lines()));
        };
        use crate::status::Exit;
        std::thread::Builder::new()
            .name(format!("wait {}", service.name))
            .spawn(wait)
            .map_err(cannot)?;
        Ok(service)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for its end; false when it still runs after `timeout`.
    pub fn wait(&self, timeout: Duration) -> bool {
        let begun = Instant::now();
        let mut status = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        while status.is_none() {
            let Some(left) = timeout.checked_sub(begun.elapsed()) else {
                return false;
            };
            status = self
                .ended
                .1
                .wait_timeout(status, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        let status = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_none() {
            if let Err(error) = kill(self.pid, signal) {
                log::warn!("{}: {signal}: {error}", self.name);
            }
        }
    }

    /// Ends it: waits for what it was already asked to do, then SIGTERM, then SIGKILL.
    pub fn end(&self, asked: bool) {
        let patience = Duration::from_secs(2);
        if asked && self.wait(patience) {
            return;
        }
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            self.signal(signal);
            if self.wait(patience) {
                return;
            }
        }
        log::error!("{} (pid {}) does not end", self.name, self.pid);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Exit;

    fn start(script: &str) -> (tempfile::TempDir, Arc<Watch>, Service) {
        let dir = tempfile::tempdir().unwrap();
        let timeline = Arc::new(Timeline::create(&dir.path().join("timeline.log")).unwrap());
        let watch = Watch::new();
        let sink = Sink::create("helper", &dir.path().join("helper.log"), &timeline).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let service = Service::start("helper", command, None, sink, &watch).unwrap();
        (dir, watch, service)
    }

    #[test]
    fn a_death_fails_the_run_with_the_last_words() {
        let (dir, watch, _service) = start("echo last words >&2; exit 3");
        let failure = watch
            .wait("the end", Duration::from_secs(10), |_| None::<()>)
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Harness);
        assert!(failure.message.contains("exit status: 3"), "{failure}");
        assert_eq!(failure.tail, ["last words"]);
        assert_eq!(
            std::fs::read(dir.path().join("helper.log")).unwrap(),
            b"last words\n"
        );
    }

    #[test]
    fn a_log_on_a_full_disk_fails_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let timeline = Arc::new(Timeline::create(&dir.path().join("timeline.log")).unwrap());
        let watch = Watch::new();
        let sink = Sink::create("helper", Path::new("/dev/full"), &timeline).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo words >&2; exec sleep 60"]);
        let _service = Service::start("helper", command, None, sink, &watch).unwrap();
        let failure = watch
            .wait("the end", Duration::from_secs(10), |_| None::<()>)
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Harness);
        assert!(failure.message.contains("/dev/full"), "{failure}");
    }

    #[test]
    fn an_end_on_purpose_is_no_failure() {
        let (_dir, watch, service) = start("exec sleep 60");
        watch.update(|state| state.ending = true);
        service.end(false);
        assert!(service.wait(Duration::ZERO));
        assert!(watch.health().is_ok());
    }
}
