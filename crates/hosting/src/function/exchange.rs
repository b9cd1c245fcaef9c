//! The conversation with a runtime as a state: who waits for whom. No I/O but signals.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use rustix::process::Signal;
use tokio::sync::{oneshot, watch};

use crate::process::Process;

/// An invocation as the runtime gets it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// What came back for an event.
#[derive(Debug)]
pub(super) enum Reply {
    Response(Bytes),
    Error { error_type: String, body: Bytes },
    TooLarge { bytes: u64 },
}

/// How far the init phase is.
#[derive(Debug, Clone)]
pub(super) enum Init {
    Running,
    /// The runtime has asked for its first event.
    Ready(Duration),
    /// The runtime says that it cannot begin.
    Reported {
        error_type: String,
        body: Bytes,
        after: Duration,
    },
}

/// What a runtime gets that asks for the next event.
#[derive(Debug)]
pub(super) enum Next {
    Now(Event),
    Wait(oneshot::Receiver<Event>),
    /// It has not answered the last one.
    Unanswered,
}

#[derive(Debug)]
struct Current {
    event: Event,
    /// The runtime has been given it.
    delivered: bool,
    reply: oneshot::Sender<Reply>,
}

#[derive(Debug, Default)]
struct State {
    waiter: Option<oneshot::Sender<Event>>,
    current: Option<Current>,
    /// Counts invocations, so that a late freeze does not hit the next one.
    turn: u64,
    frozen: bool,
    /// It is to end, for which it must run.
    stopping: bool,
}

/// Both sides of the conversation meet here: the Runtime API's connections and the invoker.
#[derive(Debug)]
pub(super) struct Exchange {
    process: Process,
    started: Instant,
    init: watch::Sender<Init>,
    state: Mutex<State>,
}

impl Exchange {
    pub(super) fn new(process: Process, started: Instant) -> Exchange {
        let init = watch::Sender::new(Init::Running);
        Exchange { process, started, init, state: Mutex::default() }
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn init(&self) -> watch::Receiver<Init> {
        self.init.subscribe()
    }

    /// The runtime asks for an event: it has nothing to do until there is one, and is frozen.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        match &mut state.current {
            Some(current) if current.delivered => return Next::Unanswered,
            Some(current) => {
                current.delivered = true;
                let event = current.event.clone();
                drop(state);
                self.begin();
                return Next::Now(event);
            }
            None => {}
        }
        let (waiter, event) = oneshot::channel();
        // An earlier one belongs to a connection that the runtime has given up.
        state.waiter = Some(waiter);
        self.freeze(&mut state);
        drop(state);
        self.begin();
        Next::Wait(event)
    }

    /// The first question ends the init phase.
    fn begin(&self) {
        self.init.send_if_modified(|init| {
            let running = matches!(init, Init::Running);
            if running {
                *init = Init::Ready(self.started.elapsed());
            }
            running
        });
    }

    /// The runtime cannot begin; answers whether it may still say so.
    pub(super) fn fail_init(&self, error_type: String, body: Bytes) -> bool {
        self.init.send_if_modified(|init| {
            let running = matches!(init, Init::Running);
            if running {
                let after = self.started.elapsed();
                *init =
                    Init::Reported { error_type: error_type.clone(), body: body.clone(), after };
            }
            running
        })
    }

    /// Takes the runtime's answer; false where it is not for the current request.
    pub(super) fn reply(&self, request_id: &str, reply: Reply) -> bool {
        let mut state = self.lock();
        let current = state.current.take_if(|c| c.delivered && c.event.request_id == request_id);
        // Who has stopped waiting kills the environment, so nobody misses it.
        current.is_some_and(|current| current.reply.send(reply).is_ok())
    }

    /// Wakes the environment and gives it an event, at once or when it asks.
    pub(super) fn give(&self, event: Event) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        state.turn += 1;
        self.thaw(&mut state);
        let waiter = state.waiter.take();
        // A waiter whose connection is gone gives it back; the runtime will ask again.
        let delivered = waiter.is_some_and(|waiter| waiter.send(event.clone()).is_ok());
        state.current = Some(Current { event, delivered, reply });
        answer
    }

    /// The number of the invocation that is or was last given.
    pub(super) fn turn(&self) -> u64 {
        self.lock().turn
    }

    /// Freezes an environment that has answered this turn and not asked for more.
    pub(super) fn freeze_after(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn == turn && state.current.is_none() {
            self.freeze(&mut state);
        }
    }

    /// Lets the group run from now on, so that it can see a signal.
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.thaw(&mut state);
    }

    // INVARIANT: the group is stopped and continued under the lock of the state that says which.
    fn freeze(&self, state: &mut State) {
        if !state.frozen && !state.stopping {
            state.frozen = true;
            self.process.signal(Signal::STOP);
        }
    }

    fn thaw(&self, state: &mut State) {
        if state.frozen {
            state.frozen = false;
            self.process.signal(Signal::CONT);
        }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
