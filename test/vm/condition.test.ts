import { mainJob } from './main-job.js';

mainJob('condition');
