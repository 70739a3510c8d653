// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Child processes that cannot outlive the runner.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The processes that [`spawn`] started. One that ended stays in it: a number that is given out again is at worst
/// taken for a helper's.
static HELPERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether [`spawn`] started this process.
pub fn is_helper(pid: i32) -> bool {
    let helpers = HELPERS.lock().unwrap_or_else(PoisonError::into_inner);
    helpers.contains(&pid)
}

type Request = (Command, Sender<io::Result<Child>>);

/// Starts a child in a process group of its own, which the kernel kills when the runner ends.
///
/// Its own group keeps a terminal's Ctrl-C from it: the runner ends its children in order. `PR_SET_PDEATHSIG`
/// acts at the end of the parent *thread* (prctl(2)), so one thread that never ends starts every child.
///
/// # Errors
/// What `Command::spawn` reports.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let runner = std::process::id();
    command.process_group(0);
    unblock_signals(&mut command);
    // SAFETY: prctl, getppid and _exit are async-signal-safe, and the closure touches nothing else.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The runner may have ended between fork and prctl.
            if libc::getppid() as u32 != runner {
                libc::_exit(125);
            }
            Ok(())
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, received) = channel::<Request>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, reply) in received {
                    let child = command.spawn();
                    if let Ok(child) = &child {
                        let mut helpers = HELPERS.lock().unwrap_or_else(PoisonError::into_inner);
                        helpers.insert(child.id() as i32);
                    }
                    // A requester that went away has no use for the child, and dropping it is right.
                    let _ = reply.send(child);
                }
            })
            .expect("a thread to start children from");
        requests
    });
    let (reply, child) = channel();
    let ended = || io::Error::other("the thread that starts children has ended");
    spawner.send((command, reply)).map_err(|_| ended())?;
    child.recv().map_err(|_| ended())?
}

/// Lets the child receive every signal: the runner's threads block what [`crate::signals`] waits for, and a child inherits that.
pub fn unblock_signals(command: &mut Command) {
    // SAFETY: sigemptyset and sigprocmask are async-signal-safe, and the closure touches its own stack alone.
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            if libc::sigemptyset(none.as_mut_ptr()) != 0
                || libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// The command as a line for a shell, each word quoted where it must be.
pub fn shell_line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.to_string_lossy(),
                quote(&value.to_string_lossy())
            ));
        }
    }
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(command.get_args().map(|arg| quote(&arg.to_string_lossy())));
    words.join(" ")
}

/// The word as a POSIX shell reads it back.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_shell_reads_back_each_word() {
        for word in [
            "",
            "plain",
            "two words",
            "it's",
            "$HOME",
            "a\nb",
            r#"{"x":1}"#,
        ] {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(word)))
                .output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), word);
        }
    }

    #[test]
    fn a_line_names_environment_program_and_arguments() {
        let mut command = Command::new("prog");
        command.env("X", "a b").args(["-o", "c d"]);
        assert_eq!(shell_line(&command), "X='a b' prog -o 'c d'");
    }

    #[test]
    fn a_child_can_be_ended_though_its_starter_blocks_the_signal() {
        let mut term = nix::sys::signal::SigSet::empty();
        term.add(nix::sys::signal::Signal::SIGTERM);
        term.thread_block().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "kill -TERM $$"]);
        unblock_signals(&mut command);
        let status = command.status().unwrap();
        term.thread_unblock().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGTERM)
        );
    }

    #[test]
    fn a_child_leads_its_own_group_and_its_starter_may_end() {
        let spawned = std::thread::spawn(|| {
            let mut command = Command::new("sh");
            command.args(["-c", "read x; ps -o pgid= -p $$"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            spawn(command).unwrap()
        });
        let mut child = spawned.join().unwrap(); // with PDEATHSIG tied to that thread it were dead now
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        let id = child.id();
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim(),
            id.to_string()
        );
    }
}
