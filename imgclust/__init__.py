"""imgclust: watches folders of images, embeds each new one once, keeps clusters in step."""
