//! A socket that Tokio's reactor watches.

pub(super) use imp::Watched;

#[cfg(unix)]
mod imp {
    use std::{
        io,
        net::UdpSocket,
        sync::{Mutex, PoisonError},
        task::{Context, Poll, ready},
    };
    use tokio::io::{Interest, unix::AsyncFd};

    /// Watched for reading alone, until the kernel has no room for what is sent: each datagram that leaves a socket makes it
    /// writable anew, and would wake the reactor.
    #[derive(Debug)]
    pub(in super::super) struct Watched {
        socket: AsyncFd<UdpSocket>,
        /// The same socket, while somebody waits for room.
        full: Mutex<Option<AsyncFd<UdpSocket>>>,
    }

    impl Watched {
        pub(in super::super) fn new(socket: UdpSocket) -> io::Result<Self> {
            Ok(Self {
                socket: watch(socket, Interest::READABLE)?,
                full: Mutex::default(),
            })
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            self.socket.get_ref()
        }

        /// Reads when there may be something. `read` also says whether there may be more.
        pub(in super::super) fn poll_read<T>(
            &self,
            cx: &mut Context<'_>,
            mut read: impl FnMut() -> io::Result<(T, bool)>,
        ) -> Poll<io::Result<T>> {
            loop {
                let mut guard = ready!(self.socket.poll_read_ready(cx))?;
                let Ok(done) = guard.try_io(|_| read()) else {
                    continue;
                };
                return Poll::Ready(done.map(|(value, more)| {
                    if !more {
                        guard.clear_ready();
                    }
                    value
                }));
            }
        }

        /// Writes when the kernel has room.
        pub(in super::super) fn poll_write(
            &self,
            cx: &mut Context<'_>,
            mut write: impl FnMut() -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let done = match &*full {
                    Some(writable) => ready!(writable.poll_write_ready(cx))?.try_io(|_| write()).ok(),
                    None => Some(write()).filter(|done| !would_block(done)),
                };
                if let Some(done) = done {
                    *full = None;
                    return Poll::Ready(done);
                }
                if full.is_none() {
                    *full = Some(watch(self.socket().try_clone()?, Interest::WRITABLE)?);
                }
            }
        }

        /// Whether the reactor tells of room, too.
        #[cfg(test)]
        pub(in super::super) fn is_full(&self) -> bool {
            self.full.lock().unwrap_or_else(PoisonError::into_inner).is_some()
        }
    }

    fn would_block(done: &io::Result<()>) -> bool {
        matches!(done, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    #[expect(
        unsafe_code,
        reason = "a type that is its own file descriptor cannot be told from others"
    )]
    fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        // SAFETY: the socket owns its file descriptor, which stays open and the same until it is dropped, and nothing takes it
        // out of the `AsyncFd`.
        let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
        Ok(watched?)
    }
}

#[cfg(not(unix))]
mod imp {
    use std::{
        io,
        task::{Context, Poll, ready},
    };
    use tokio::{io::Interest, net::UdpSocket};

    #[derive(Debug)]
    pub(in super::super) struct Watched(UdpSocket);

    impl Watched {
        pub(in super::super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
            UdpSocket::from_std(socket).map(Self)
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            &self.0
        }

        pub(in super::super) fn poll_read<T>(
            &self,
            cx: &mut Context<'_>,
            mut read: impl FnMut() -> io::Result<(T, bool)>,
        ) -> Poll<io::Result<T>> {
            loop {
                ready!(self.0.poll_recv_ready(cx))?;
                match self.0.try_io(Interest::READABLE, &mut read) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done.map(|(value, _)| value)),
                }
            }
        }

        pub(in super::super) fn poll_write(
            &self,
            cx: &mut Context<'_>,
            mut write: impl FnMut() -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            loop {
                ready!(self.0.poll_send_ready(cx))?;
                match self.0.try_io(Interest::WRITABLE, &mut write) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{future::poll_fn, io, net::UdpSocket, time::Duration};
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn bound() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    #[tokio::test]
    async fn each_datagram_wakes_the_reader() {
        let (from, to) = (bound(), bound());
        let address = to.local_addr().unwrap();
        let watched = Watched::new(to).unwrap();
        for number in 0..100 {
            let read = poll_fn(|cx| {
                watched.poll_read(cx, || {
                    let mut byte = [0];
                    watched.socket().recv(&mut byte)?;
                    Ok((byte[0], false))
                })
            });
            let (read, _) = tokio::join!(timeout(PATIENCE, read), async {
                from.send_to(&[number], address)
            });
            assert_eq!(read.unwrap().unwrap(), number);
        }
    }

    #[tokio::test]
    async fn who_finds_no_room_tries_again_when_there_may_be() {
        let watched = Watched::new(bound()).unwrap();
        // The second time after having been told that there is room is a wait for the kernel's next word.
        for refusals in 0..2 {
            let mut answers = vec![io::ErrorKind::WouldBlock; refusals].into_iter();
            let mut write = || answers.next().map_or(Ok(()), |refusal| Err(refusal.into()));
            let written = poll_fn(|cx| watched.poll_write(cx, &mut write));
            timeout(PATIENCE, written).await.unwrap().unwrap();
            assert!(!watched.is_full());
        }
    }
}
