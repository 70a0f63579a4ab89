//! One task for a peer's driver and the pumps of its channels.
//!
//! A message passes both on its way, and both take the library's one lock. As tasks of their own they would wake each
//! other across threads, and wait there for each other.

use crate::socket::lock;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::{
    sync::Notify,
    task::{consume_budget, yield_now},
};

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The place of the driver, which is the first.
const DRIVER: usize = 0;

/// Takes in futures, and says which of them are to be polled.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    ready: Mutex<VecDeque<usize>>,
    joining: Mutex<Joining>,
    /// There is something in `ready` or `joining`.
    wake: Notify,
    /// The driver is being polled.
    driving: AtomicBool,
}

#[derive(Default)]
struct Joining {
    futures: Vec<Boxed>,
    over: bool,
}

impl std::fmt::Debug for Joining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joining")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Crew {
    /// Has the crew's task poll a future until it is done. It is dropped with the task.
    pub(crate) fn join(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut joining = lock(&self.joining);
        if !joining.over {
            joining.futures.push(Box::pin(future));
            self.wake.notify_one();
        }
    }

    /// Whether the caller is in the driver, and not beside it.
    pub(crate) fn is_driving(&self) -> bool {
        self.driving.load(SeqCst)
    }

    /// Whether others wait for the driver to make room.
    pub(crate) fn others_wait(&self) -> bool {
        lock(&self.ready).iter().any(|place| *place != DRIVER)
    }

    /// The members, of whom the first is the driver.
    pub(crate) fn start(self: &Arc<Self>, driver: impl Future<Output = ()> + Send + 'static) -> Members {
        let mut members = Members {
            crew: Arc::clone(self),
            driver: Waker::noop().clone(),
            places: Vec::new(),
            free: Vec::new(),
        };
        members.driver = members.take_in(Box::pin(driver));
        members
    }
}

/// What the crew's task polls.
pub(crate) struct Members {
    crew: Arc<Crew>,
    driver: Waker,
    places: Vec<Option<Member>>,
    free: Vec<usize>,
}

struct Member {
    future: Boxed,
    call: Arc<Call>,
    waker: Waker,
}

/// Wakes a member.
struct Call {
    place: usize,
    crew: Arc<Crew>,
    /// It is in `ready`.
    made: AtomicBool,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.made.swap(true, SeqCst) {
            lock(&self.crew.ready).push_back(self.place);
            self.crew.wake.notify_one();
        }
    }
}

impl Members {
    /// Polls whoever is woken, for ever. When the others have had their turn, `flush` is called with the driver's
    /// context, and then the driver has the next; if `flush` says so, after the runtime's other tasks.
    pub(crate) async fn run(mut self, mut flush: impl FnMut(&mut Context<'_>) -> bool) {
        loop {
            let joining = std::mem::take(&mut lock(&self.crew.joining).futures);
            for future in joining {
                self.take_in(future);
            }
            let next = lock(&self.crew.ready).pop_front();
            let gives_way =
                next.is_none_or(|place| place == DRIVER) && flush(&mut Context::from_waker(&self.driver));
            match next {
                Some(place) => {
                    if gives_way {
                        yield_now().await;
                    }
                    self.poll(place);
                    consume_budget().await;
                }
                None => self.crew.wake.notified().await,
            }
        }
    }

    fn poll(&mut self, place: usize) {
        // Who is done may still be woken.
        let Some(member) = &mut self.places[place] else {
            return;
        };
        member.call.made.store(false, SeqCst);
        self.crew.driving.store(place == DRIVER, SeqCst);
        let polled = member
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&member.waker));
        self.crew.driving.store(false, SeqCst);
        if polled == Poll::Ready(()) {
            self.places[place] = None;
            // The driver's is nobody else's.
            if place != DRIVER {
                self.free.push(place);
            }
        }
    }

    fn take_in(&mut self, future: Boxed) -> Waker {
        let place = self.free.pop().unwrap_or(self.places.len());
        let call = Arc::new(Call {
            place,
            crew: Arc::clone(&self.crew),
            made: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&call));
        waker.wake_by_ref();
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Member {
            future,
            call,
            waker: waker.clone(),
        });
        waker
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let mut joining = lock(&self.crew.joining);
        joining.over = true;
        let left = std::mem::take(&mut joining.futures);
        drop(joining);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, sync::atomic::AtomicUsize, time::Duration};
    use tokio::{sync::mpsc, time::timeout};

    #[tokio::test]
    async fn everybody_is_polled_when_woken_and_only_then() {
        let crew = Arc::<Crew>::default();
        let (to_driver, mut from_member) = mpsc::unbounded_channel();
        let (polls, seen) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<usize>>>::default());
        let members = crew.start({
            let (crew, seen) = (Arc::clone(&crew), Arc::clone(&seen));
            async move {
                while let Some(number) = from_member.recv().await {
                    assert!(crew.is_driving());
                    lock(&seen).push(number);
                }
            }
        });
        let flushes = Arc::<AtomicUsize>::default();
        let task = tokio::spawn({
            let flushes = Arc::clone(&flushes);
            members.run(move |_| flushes.fetch_add(1, SeqCst) % 2 == 0)
        });
        for number in 0..3 {
            let (to_driver, crew_too) = (to_driver.clone(), Arc::clone(&crew));
            crew.join(async move {
                yield_now().await;
                assert!(!crew_too.is_driving());
                to_driver.send(number).unwrap();
            });
        }
        crew.join({
            let polls = Arc::clone(&polls);
            poll_fn(move |_| {
                polls.fetch_add(1, SeqCst);
                Poll::Pending
            })
        });
        let all = async {
            while lock(&seen).len() < 3 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), all).await.unwrap();
        lock(&seen).sort_unstable();
        assert_eq!(*lock(&seen), [0, 1, 2]);
        assert_eq!(polls.load(SeqCst), 1);
        assert!(flushes.load(SeqCst) > 0);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn all_are_dropped_with_the_task() {
        let (crew, alive) = (Arc::<Crew>::default(), Arc::new(()));
        let waits = || {
            let alive = Arc::clone(&alive);
            async move {
                std::future::pending::<()>().await;
                drop(alive);
            }
        };
        let members = crew.start(waits());
        crew.join(waits());
        drop(members);
        crew.join(waits());
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
