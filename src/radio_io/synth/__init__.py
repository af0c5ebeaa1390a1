"""A synthetic PACS export: phantoms of the regions, with the faults that real exports have."""

from radio_io.synth.export import SynthSummary, write_export

__all__ = ["SynthSummary", "write_export"]
