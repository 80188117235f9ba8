/** Before the name of a method. */
export const imageServicePath = '/runtime.v1.ImageService/';
