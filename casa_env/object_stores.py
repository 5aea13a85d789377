"""Gone with the modules that still import it."""

from casa_env.data.xcache import s3_buckets as store_answer
from casa_env.data.xcache import s3_options

__all__ = ["s3_options", "store_answer"]
