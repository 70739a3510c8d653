// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user sees while something is made: a line that moves on a terminal, plain lines
//! elsewhere. On stderr, since stdout belongs to results.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a task that goes on speaks where lines stay.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where progress is shown.
#[derive(Clone)]
pub struct Progress(Kind);

#[derive(Clone)]
enum Kind {
    Hidden,
    Plain,
    Moving(MultiProgress),
}

impl Progress {
    /// Moving lines on a terminal, plain ones elsewhere.
    pub fn auto() -> Self {
        if std::io::stderr().is_terminal() {
            Progress(Kind::Moving(MultiProgress::new()))
        } else {
            Progress(Kind::Plain)
        }
    }

    /// Nothing is shown.
    pub fn hidden() -> Self {
        Progress(Kind::Hidden)
    }

    /// Starts to show a task; dropping it ends that.
    pub fn task(&self, name: &str) -> Task {
        let bar = match &self.0 {
            Kind::Moving(lines) => {
                let bar = lines.add(ProgressBar::new_spinner());
                let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} [{elapsed}]");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            _ => None,
        };
        Task {
            name: name.to_owned(),
            plain: matches!(self.0, Kind::Plain),
            bar,
            start: Instant::now(),
            message: String::new(),
            spoke: None,
        }
    }

    /// Says something that stays on the screen.
    pub fn note(&self, message: &str) {
        match &self.0 {
            Kind::Hidden => {}
            Kind::Plain => eprintln!("{message}"),
            Kind::Moving(lines) => {
                let _ = lines.println(message);
            }
        }
    }
}

/// Something that goes on.
pub struct Task {
    name: String,
    plain: bool,
    bar: Option<ProgressBar>,
    start: Instant,
    message: String,
    spoke: Option<Instant>,
}

impl Task {
    /// A new stage, always shown.
    pub fn stage(&mut self, message: &str) {
        self.spoke = None;
        self.say(message);
    }

    /// How far the stage is; shown now and then where lines stay.
    pub fn say(&mut self, message: &str) {
        self.message.clear();
        // What a tool prints is not for the terminal to obey.
        self.message
            .extend(message.chars().filter(|letter| !letter.is_control()));
        self.tick();
    }

    /// Called again and again while nothing new is known, so that no long step is silent.
    pub fn tick(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message.clone());
        } else if self.plain
            && self
                .spoke
                .is_none_or(|then| then.elapsed() >= PLAIN_INTERVAL)
        {
            self.spoke = Some(Instant::now());
            eprintln!(
                "{}: {} [{}]",
                self.name,
                self.message,
                elapsed(self.start.elapsed())
            );
        }
    }

    /// Ends the task with a word that stays.
    pub fn done(self, message: &str) {
        let line = format!(
            "{}: {message} [{}]",
            self.name,
            elapsed(self.start.elapsed())
        );
        if let Some(bar) = &self.bar {
            bar.println(line);
        } else if self.plain {
            eprintln!("{line}");
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Minutes and seconds.
fn elapsed(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_is_minutes_and_seconds() {
        assert_eq!(elapsed(Duration::from_millis(61_900)), "1:01");
    }
}
