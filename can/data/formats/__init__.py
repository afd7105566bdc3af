"""How images lie in files: folders and zip archives, tar archives, parquet and Arrow tables, TFDS's records.

Each has a function that opens a place as splits of `EncodedImages`; `can.data.registry` knows them by what stands
before the place, such as `parquet:`.
"""
