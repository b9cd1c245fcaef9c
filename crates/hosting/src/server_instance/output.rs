//! The output of a model server: its address, its log, its last words.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Context;
use crate::process::Lines;

/// What stands before the port.
const ADDRESS: &str = "http://127.0.0.1:";

/// Lines kept to explain an end.
const LAST_LINES: usize = 8;

/// Characters kept of each of them.
const LAST_CHARACTERS: usize = 300;

/// A line of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceLine {
    /// Generation of the specification that the instance runs.
    pub generation: u64,
    /// Number of the instance within its pool; a restarted instance keeps it.
    pub instance: u64,
    /// The line without its end.
    pub text: String,
}

#[derive(Debug)]
pub(super) struct Output {
    port: Option<oneshot::Receiver<u16>>,
    last: Arc<Mutex<VecDeque<String>>>,
    task: JoinHandle<()>,
}

impl Output {
    pub(super) fn follow(mut lines: Lines, context: &Context) -> Output {
        let (sender, port) = oneshot::channel();
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last);
        let mut log = Log {
            logs: context.logs.clone(),
            generation: context.generation,
            instance: context.number,
            dropped: 0,
        };
        let task = tokio::spawn(async move {
            let mut sender = Some(sender);
            while let Some(line) = lines.next().await {
                if sender.is_some()
                    && let Some(port) = find_port(&line.text)
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send(port);
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_LINES {
                    kept.pop_front();
                }
                kept.push_back(line.text.chars().take(LAST_CHARACTERS).collect());
                drop(kept);
                log.pass_on(line.text);
            }
        });
        Output { port: Some(port), last, task }
    }

    /// The port that the server printed; pending for ever when it prints none.
    pub(super) async fn port(&mut self) -> u16 {
        if let Some(port) = &mut self.port {
            let found = port.await;
            self.port = None;
            if let Ok(found) = found {
                return found;
            }
        }
        std::future::pending().await
    }

    /// The last lines, once the process has ended.
    pub(super) async fn finish(&mut self) -> Vec<String> {
        let _ = (&mut self.task).await;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

struct Log {
    logs: Option<mpsc::Sender<InstanceLine>>,
    generation: u64,
    instance: u64,
    dropped: u64,
}

impl Log {
    /// A model server is never slowed down by whoever stores its log: what does not fit is counted.
    fn pass_on(&mut self, text: String) {
        let Some(logs) = &self.logs else { return };
        let line =
            |text| InstanceLine { generation: self.generation, instance: self.instance, text };
        if self.dropped > 0
            && logs.try_send(line(format!("({} lines were dropped)", self.dropped))).is_ok()
        {
            self.dropped = 0;
        }
        if logs.try_send(line(text)).is_err() {
            self.dropped += 1;
        }
    }
}

/// The port in the first address of this machine on the line.
pub(super) fn find_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(ADDRESS)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok().filter(|port| *port != 0)
}
