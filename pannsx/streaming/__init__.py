"""Sound that comes in blocks and has not ended: its tags, frames and events as soon as they are certain.

A frame is certain once all the samples it depends on were heard: its receptive field, which the layers
say (:mod:`pannsx.models.timing`).  The network then runs on a window that holds the fields of the next
few frames and no more, so that a block costs the same after a week as at the beginning, and the frames
are those that the network would find in the whole recording at once.
"""

from pannsx.streaming.tagger import StreamTagger
from pannsx.streaming.update import StreamUpdate

__all__ = ["StreamTagger", "StreamUpdate"]
