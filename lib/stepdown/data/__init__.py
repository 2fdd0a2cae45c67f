"""From files to network inputs: image decoding, resizing, preprocessing, datasets and labels."""
