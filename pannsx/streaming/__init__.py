"""Streaming: tags, frames and events of live sound, as soon as they are final.

A frame is final once its receptive field has been pushed; the layers define that field
(:mod:`pannsx.models.timing`).  The network then runs on a window with the receptive fields of the next few
frames and no more. So a block costs the same after a week as at the beginning, and the frames equal those
of the whole recording in one piece.
"""

from pannsx.streaming.tagger import StreamTagger
from pannsx.streaming.update import StreamUpdate

__all__ = ["StreamTagger", "StreamUpdate"]
