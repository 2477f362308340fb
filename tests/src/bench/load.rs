//! A load driver for HTTP on loopback: closed loops over kept-alive connections, as light as a client can be, bounded in count and time.
//!
//! It writes requests and reads answers on plain sockets, so that on two shared cores the server is what is measured. Both sides of a
//! ratio are driven by this same code.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::now;

/// What a run of load did.
#[derive(Clone, Debug)]
pub struct Load {
    /// Answers with the expected status.
    pub answers: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Every answer's time, sorted, in microseconds.
    pub latencies_us: Vec<u32>,
}

impl Load {
    /// Answers per second.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement")]
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency below which a share of the answers came, in microseconds. `per_mille` of 500 is the median.
    #[must_use]
    pub fn latency_us(&self, per_mille: usize) -> u32 {
        below_us(&self.latencies_us, per_mille)
    }
}

/// The latency below which a share of sorted latencies lies. `per_mille` of 500 is the median.
#[must_use]
pub fn below_us(sorted_us: &[u32], per_mille: usize) -> u32 {
    let at = (sorted_us.len() * per_mille / 1_000).min(sorted_us.len().saturating_sub(1));
    sorted_us.get(at).copied().unwrap_or(0)
}

/// Sends `requests` requests over `connections` connections; `make(connection, n)` writes each whole request, headers included.
///
/// # Errors
/// When a connection breaks or an answer has another status than 200.
pub async fn run<F>(address: SocketAddr, connections: usize, requests: u64, make: F) -> anyhow::Result<Load>
where
    F: Fn(usize, u64, &mut Vec<u8>) + Clone + Send + Sync + 'static,
{
    let each = requests / connections as u64;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.with_context(|| format!("could not connect to {address}"))?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let start = now();
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(connection, stream)| {
            let make = make.clone();
            tokio::spawn(async move { drive(stream, connection, each, make).await })
        })
        .collect();
    let mut latencies_us = Vec::with_capacity(usize::try_from(requests).unwrap_or(0));
    for task in tasks {
        latencies_us.extend(task.await.context("a client stopped")??);
    }
    let elapsed = start.elapsed();
    latencies_us.sort_unstable();
    Ok(Load { answers: latencies_us.len() as u64, elapsed, latencies_us })
}

async fn drive<F>(mut stream: TcpStream, connection: usize, requests: u64, make: F) -> anyhow::Result<Vec<u32>>
where
    F: Fn(usize, u64, &mut Vec<u8>),
{
    let (mut request, mut answer) = (Vec::with_capacity(2_048), Vec::with_capacity(16_384));
    let mut latencies_us = Vec::with_capacity(usize::try_from(requests).unwrap_or(0));
    for n in 0..requests {
        request.clear();
        make(connection, n, &mut request);
        let start = now();
        stream.write_all(&request).await.context("could not send")?;
        let status = read_answer(&mut stream, &mut answer).await?;
        latencies_us.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        ensure!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(latencies_us)
}

/// Reads one answer with a `Content-Length` and gives its status; the buffer then holds all of it.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<u16> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await.context("could not read an answer")? == 0 {
            bail!("the server closed the connection");
        }
        let Some(end) = find(answer, b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end]).context("an answer's head is not text")?;
        let length: usize = head
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
            .and_then(|(_, value)| value.trim().parse().ok())
            .context("an answer has no content-length")?;
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer has no status")?;
        while answer.len() < end + 4 + length {
            if stream.read_buf(answer).await.context("could not read an answer")? == 0 {
                bail!("the server closed the connection within an answer");
            }
        }
        return Ok(status);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
