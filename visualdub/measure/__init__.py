"""The measures of a dub: PSNR, SSIM, sharpness, flicker, landmark distance, seam, control and leak."""
