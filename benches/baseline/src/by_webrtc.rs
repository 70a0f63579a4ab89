//! webrtc-rs by hand: the library's own driver and handler, descriptions and trickled candidates passed between two
//! peers, tracks and channels as its examples use them.

mod assemble;
mod call;
mod pair;
mod runtime;
mod settings;

use crate::{
    ByHand, Connected, Error, Variant,
    error::bounded,
    net::{address, is_real},
};
use async_trait::async_trait;
use call::Peer;
use pair::Pair;
use settings::Place;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use visavis_core::Net;

const NAME: &str = "webrtc-rs";

/// webrtc-rs, in one of its variants.
#[derive(Debug)]
pub(crate) struct WebrtcByHand {
    variant: Variant,
}

impl WebrtcByHand {
    pub(crate) fn new(variant: Variant) -> Self {
        Self { variant }
    }

    async fn call(&self, nets: [Arc<dyn Net>; 2], media: bool) -> Result<(Pair, Duration), Error> {
        let [a, b] = nets.map(|net| {
            let address = address(&*net)?;
            if self.variant == Variant::Defaults && !is_real(&*net, address)? {
                return Err(Error::Unsupported(NAME));
            }
            Ok(Place { net, address })
        });
        let (a, b) = (a?, b?);
        let began = Instant::now();
        let mut offerer = bounded("make the offerer", Peer::new(self.variant, a, media)).await?;
        let mut answerer = bounded("make the answerer", Peer::new(self.variant, b, media)).await?;
        let channel = bounded("create the channel", offerer.create_channel()).await?;
        let track = if media {
            Some(bounded("add the track", offerer.add_track()).await?)
        } else {
            None
        };
        let (to_answerer, from_offerer) = mpsc::unbounded_channel();
        let (to_offerer, from_answerer) = mpsc::unbounded_channel();
        let opened = bounded("open the data channel", async {
            tokio::try_join!(
                offerer.offer(channel, to_answerer, from_answerer),
                answerer.answer(to_offerer, from_offerer),
            )
        });
        let (a, b) = opened.await?;
        let pair = Pair::new(offerer, answerer, track, [a.channel, b.channel]);
        Ok((pair, a.at.max(b.at) - began))
    }
}

#[async_trait]
impl ByHand for WebrtcByHand {
    fn name(&self) -> &'static str {
        NAME
    }

    fn variant(&self) -> Variant {
        self.variant
    }

    async fn handshake(&self, nets: [Arc<dyn Net>; 2]) -> Result<Duration, Error> {
        let (pair, took) = self.call(nets, false).await?;
        Box::new(pair).close().await?;
        Ok(took)
    }

    async fn connect(&self, nets: [Arc<dyn Net>; 2]) -> Result<Box<dyn Connected>, Error> {
        let (pair, _) = self.call(nets, true).await?;
        Ok(Box::new(pair))
    }
}
