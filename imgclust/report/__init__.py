"""Report: a collection as one HTML page, and the parts that other pages share."""
